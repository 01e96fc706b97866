"""A beacon in a stock transformers decoder: putting it in, taking it out again, and the one way to run a pass."""

from typing import Any

import torch
from torch import Tensor, nn

from activation_beacon.architecture import attention_modules, decoder_of, embeddings, layers_of
from activation_beacon.cache import Cache
from activation_beacon.decoder import MANY_ROWS, Decoder
from activation_beacon.errors import ConfigError
from activation_beacon.linear import BeaconLinear, BeaconRows, Staying
from activation_beacon.plugin import Beacon, shape_of
from activation_beacon.rotary import Rotary


class Installed:
    """A model whose projections and rotary embedding are the beacon's too, until `detach`.

    Args:
        model: a transformers causal LM in eval mode.
        beacon: must fit it; None leaves the projections alone.
        rotary: stands in for the decoder's own, which it must equal.

    Raises:
        ConfigError: if the beacon does not fit the model, or one is already installed; the model is then as it was.
    """

    def __init__(self, model: nn.Module, beacon: Beacon | None, rotary: Rotary) -> None:
        self.model, self._beacon = model, beacon
        self.decoder: Any = decoder_of(model)
        self.rows = BeaconRows()
        config: Any = model.config
        # transformers' own mask would have the sliding window, which the method ignores (`docs/FORMAT.md` 4.1).
        self._has_window = getattr(config, "sliding_window", None) is not None
        self._own_decoder = isinstance(self.decoder, Decoder)
        self._own_rotary: Any = self.decoder.rotary_emb
        if isinstance(self._own_rotary, Rotary):
            raise ConfigError("something is already installed on this model: detach that first")
        self._wrapped = [] if beacon is None else _wrap(model, beacon, self.rows)
        for attention, name, projection in self._wrapped:
            setattr(attention, name, projection)
        self.decoder.rotary_emb = rotary

    @property
    def beacon(self) -> Beacon:
        """The beacon.

        Raises:
            ConfigError: if there is none.
        """
        if self._beacon is None:
            raise ConfigError("no beacon is attached to this model")
        return self._beacon

    @property
    def positions(self) -> int:
        """That the model was made for."""
        config: Any = self.model.config
        return int(config.max_position_embeddings)

    @property
    def rotary(self) -> Rotary:
        """The one rotary embedding, which the decoder uses and memories are moved with.

        Raises:
            ConfigError: if the beacon has been detached.
        """
        self._check_attached()
        rotary: Rotary = self.decoder.rotary_emb
        return rotary

    @property
    def layers(self) -> int:
        """How many the decoder has."""
        return len(layers_of(self.decoder))

    @property
    def device(self) -> torch.device:
        return self.rotary.inv_freq.device

    def detach(self) -> None:
        """Give the model back exactly as it was; what was handed out reads no more."""
        if self._own_rotary is None:
            return
        for attention, name, projection in self._wrapped:
            setattr(attention, name, projection.base_layer)
        self.decoder.rotary_emb, self._own_rotary = self._own_rotary, None

    def run(
        self,
        ids: Tensor,
        positions: Tensor,
        memory: Cache | None = None,
        mask: Tensor | None = None,
        beacons: Tensor | None = None,
        staying: Tensor | None = None,
    ) -> Tensor:
        """One forward pass, without the LM head. Whatever reads, reads with this.

        Args:
            ids: (batch, rows); those in the place of beacons do not matter.
            positions: (rows), for which the rotary embedding has been prepared.
            memory: what the rows' keys and values go to, and which they attend to; None keeps nothing.
            mask: (1, 1, rows, memory + rows), True where a row may attend; None lets it see all before it and itself.
            beacons: the rows that are beacons.
            staying: the rows, in order, whose keys and values are wanted, where no hidden states are: what only others
                need is then not computed (by our decoder), and what the memory has of those in the last layer means
                nothing.

        Returns:
            (batch, rows, hidden) last hidden states; (batch, 0, hidden) if none are wanted.

        Raises:
            ConfigError: if the beacon has been detached.
        """
        self._check_attached()
        before, rows = 0 if memory is None else memory.get_seq_length(), ids.shape[1]
        if mask is None and not self._own_decoder and (self._has_window or (before and rows > 1)):
            mask = torch.ones(rows, before + rows, dtype=torch.bool, device=ids.device).tril(before)[None, None]
        less: dict[str, Any] = {}
        # Few rows have packed weights, the query's with the key's and value's.
        if staying is not None and rows > MANY_ROWS and self._own_decoder:
            less["staying"] = Staying(staying, self.rows)
        self.rows.rows = beacons
        try:
            hidden: Tensor = self.decoder(
                inputs_embeds=self._embed(ids, beacons),
                position_ids=positions[None],
                attention_mask=mask,
                past_key_values=memory,
                use_cache=memory is not None,
                **less,
            ).last_hidden_state
        finally:
            self.rows.rows = None
        return hidden if staying is None else hidden[:, :0]

    @property
    def head(self) -> nn.Linear:
        """What makes logits of last hidden states."""
        head: nn.Linear = self.model.get_output_embeddings()  # type: ignore[operator]  # a PreTrainedModel method
        return head

    def logits(self, hidden: Tensor) -> Tensor:
        """(…, hidden) -> (…, vocabulary), in float32."""
        logits: Tensor = self.head(hidden).float()
        return logits

    def _check_attached(self) -> None:
        if self._own_rotary is None:
            raise ConfigError("the beacon has been detached from the model: attach it again")

    def _embed(self, ids: Tensor, rows: Tensor | None) -> Tensor:
        embedded: Tensor = embeddings(self.model)(ids)
        if rows is None:
            return embedded
        beacons = self.beacon.embedding.to(embedded.dtype).expand(ids.shape[0], rows.shape[0], -1)
        return embedded.index_copy(1, rows, beacons)


def _wrap(model: nn.Module, beacon: Beacon, rows: BeaconRows) -> list[tuple[nn.Module, str, BeaconLinear]]:
    """The wrapped projections that the beacon has weights for, each with its attention module and name there."""
    attentions = attention_modules(model)
    if len(attentions) != len(beacon.layers):
        raise ConfigError(f"the beacon has {len(beacon.layers)} layers, the model {len(attentions)}")
    wrapped = []
    for attention, layer in zip(attentions, beacon.layers, strict=True):
        for p in beacon.config.param:
            name = f"{p}_proj"
            base, own = getattr(attention, name), layer[p]  # type: ignore[index]  # an nn.ModuleDict
            if shape_of(base) != shape_of(own):
                raise ConfigError(f"the beacon's {name} is {shape_of(own)}, the model's {shape_of(base)}")
            wrapped.append((attention, name, BeaconLinear(base, own, rows)))
    return wrapped
