"""Invented facts without end: sentences, paragraphs with pronouns, records, tables and events, with their questions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace

from recipes.pocket import values
from recipes.pocket.names import WORDS, Names, entity_makers
from recipes.pocket.relations import HELD_OUT, RELATIONS, Relation

UNANSWERABLE = "The text does not say."
_PRONOUNS = {"person": (("He", "his"), ("She", "her")), "beast": (("It", "its"), ("He", "his"))}


@dataclass(frozen=True)
class Fact:
    """One statement about `entity`, ways to say it, and one question with its literal answer."""

    entity: str
    kind: str
    relation: str
    statement: str
    spoken: str | None  # the statement with a pronoun for the entity
    label: str
    question: str
    answer: str


@dataclass(frozen=True)
class Block:
    """A piece of text that belongs together, and the facts in it."""

    text: str
    facts: tuple[Fact, ...]
    inline: bool = True  # may stand inside a paragraph


def _upper(text: str) -> str:
    return text[:1].upper() + text[1:]


class Generator:
    """Makes facts from a seed.

    `held_out` uses the names of the evaluation; `wording` is "known" (training), "held" (only the held-out statement
    and question of each relation) or "new" (only relations that training never shows).
    """

    def __init__(self, seed: int, vocabulary: Sequence[str], held_out: bool = False, wording: str = "known") -> None:
        self.rng = random.Random(seed)
        self.names = Names(self.rng, vocabulary, held_out)
        self.wording = wording
        self._values = values.makers(self.rng, self.names)
        self._entities = entity_makers(self.names)
        shown = [row for row in RELATIONS if (row.name in HELD_OUT) == (wording == "new")]
        if wording == "held":
            shown = [row for row in shown if len(row.statements) > 2]
        self._relations = shown
        self._by_subject = {
            subject: [row for row in shown if row.subject == subject] for subject in {row.subject for row in shown}
        }

    def _choose(self, options: tuple[str, ...]) -> str:
        if self.wording == "new" or len(options) <= 2:
            return self.rng.choice(options)
        return options[-1] if self.wording == "held" else self.rng.choice(options[:-1])

    def fact(self, relation: Relation, entity: str, other_than: Sequence[str] = ()) -> Fact:
        """A fact of this relation about this entity, its answer none of `other_than`."""
        answer = self._values[relation.value]()
        for _ in range(5):
            if answer not in other_than and answer != entity:
                break
            answer = self._values[relation.value]()
        extra = {"animal": self.rng.choice(WORDS["animals"]), "dir": self.rng.choice(WORDS["directions"])}
        template = self._choose(relation.statements)
        spoken = None
        if template.startswith(("{e} ", "The {e} ", "{e}'s ")):
            subject, owner = self.rng.choice(_PRONOUNS.get(relation.subject, (("It", "its"),)))
            tail = template.split("{e}", 1)[1]
            head = owner.capitalize() + tail[2:] if tail.startswith("'s") else subject + tail
            if relation.value != "few" or "{e}" not in head:
                spoken = head.format(e=entity, v=answer, **extra)
        return Fact(
            entity,
            relation.subject,
            relation.name,
            _upper(template.format(e=entity, v=answer, **extra)),
            spoken,
            _upper(self.rng.choice(relation.labels).format(**extra)),
            _upper(self._choose(relation.questions).format(e=entity, v=answer, **extra)),
            answer,
        )

    def entity(self, subject: str) -> str:
        return self._entities[subject]()

    def _same_relation(self, count: int) -> list[Block]:
        relation = self.rng.choice(self._relations)
        facts: list[Fact] = []
        for _ in range(count):
            facts.append(self.fact(relation, self.entity(relation.subject), [fact.answer for fact in facts]))
        return [Block(fact.statement, (fact,)) for fact in facts]

    def _of_entity(self, count: int) -> list[Fact]:
        rows = self._by_subject[self.rng.choice(sorted(self._by_subject))]
        rows = self.rng.sample(rows, min(count, len(rows)))
        entity = self.entity(rows[0].subject)
        return [self.fact(row, entity) for row in rows]

    def _paragraph(self, count: int) -> Block:
        facts = self._of_entity(count)
        pair = self.rng.random()
        said = []
        for i, fact in enumerate(facts):
            spoken = fact.spoken if i and self.rng.random() < 0.75 else None
            if spoken and fact.kind == "person":  # one pronoun for one person
                head, _, tail = spoken.partition(" ")
                subject = head in ("He", "She")
                spoken = (("He" if subject else "His") if pair < 0.5 else ("She" if subject else "Her")) + " " + tail
            said.append(spoken or fact.statement)
        return Block(" ".join(said), tuple(facts))

    def _record(self, count: int) -> Block:
        facts = self._of_entity(count)
        form = self.rng.choice(
            ("{0}: {1}", "{0}: {1}", "{0}. {1}", "- {0}: {1}", "{0} | {1}", "{0} = {1}", "* {0} - {1}")
        )
        head = self.rng.choice(("{}", "{}", "Name: {}", "# {}", "{}:")).format(_upper(facts[0].entity))
        gap = self.rng.choice(("\n", "\n", "\n\n"))
        labels = [fact.label for fact in facts]
        facts = [fact for i, fact in enumerate(facts) if fact.label not in labels[:i]]
        asked = []
        for fact in facts:
            terse = f"What is the {fact.label[:1].lower() + fact.label[1:]} of {fact.entity}?"
            asked.append(replace(fact, question=terse) if self.rng.random() < 0.2 else fact)
        lines = [head, *(form.format(fact.label, fact.answer) for fact in facts)]
        return Block(gap.join(lines), tuple(asked), inline=False)

    def _table(self, count: int) -> Block:
        columns = self._of_entity(self.rng.choice((1, 2, 2, 3)))
        rows: list[list[Fact]] = []
        relations = [next(row for row in RELATIONS if row.name == fact.relation) for fact in columns]
        while sum(len(row) for row in rows) < count or len(rows) < 2:
            entity = self.entity(relations[0].subject)
            rows.append([self.fact(relation, entity) for relation in relations])
        bar = self.rng.choice((" | ", " | ", ", ", "\t", "; "))
        lines = [bar.join(["Name", *(fact.label for fact in columns)])]
        lines += [bar.join([row[0].entity, *(fact.answer for fact in row)]) for row in rows]
        return Block("\n".join(lines), tuple(fact for row in rows for fact in row), inline=False)

    def _event(self) -> Block:
        rng = self.rng
        past, base = rng.choice(WORDS["events"]).split(":")
        who, what, where = self.names.person(), self.names.thing(), self.names.place()
        when = self._values[rng.choice(("year", "date"))]()
        at = f"in {when}" if when.isdigit() else f"on {when}"
        text, asked = rng.choice(
            (
                ("{who} {past} {what}.", "who what"),
                ("{who} {past} {what} in {where}.", "who what where"),
                ("{at}, {who} {past} {what} in {where}.", "who what where when"),
                ("{what} was {past_p} by {who}.", "who_p what"),
                ("{who} {past} {what} {at}.", "who what when"),
                ("At {where}, {who} {past} {what}.", "who what where"),
            )
        )
        if "{past_p}" in text and base in ("break", "draw", "hide", "steal", "throw", "choose", "see"):
            text, asked = "{who} {past} {what}.", "who what"
        parts = {"who": who, "what": what, "where": where, "at": at, "past": past, "past_p": past}
        questions = {
            "who": (f"Who {past} {what}?", who),
            "who_p": (f"By whom was {what} {past}?", who),
            "what": (f"What did {who} {base}?", what),
            "where": (
                rng.choice((f"Where did {who} {base} {what}?", f"In what place did {who} {base} {what}?")),
                where,
            ),
            "when": (
                rng.choice(
                    (
                        f"When did {who} {base} {what}?",
                        f"On what date did {who} {base} {what}?"
                        if not when.isdigit()
                        else f"In what year did {who} {base} {what}?",
                    )
                ),
                when,
            ),
        }
        statement = _upper(text.format(**parts))
        facts = tuple(
            Fact(who, "event", f"event_{part}", statement, None, part, _upper(questions[part][0]), questions[part][1])
            for part in asked.split()
        )
        return Block(statement, facts)

    def _attributes(self, count: int) -> list[Block]:
        """Attributes with made-up compound names, so that the question's words must be matched."""
        rng, blocks = self.rng, []
        entity = self.entity(rng.choice(("land", "person", "org", "building")))
        seen: set[str] = set()
        for _ in range(count):
            noun, (tail, kind) = rng.choice(WORDS["nouns"]), rng.choice(WORDS["attributes"]).split(":")
            attribute = f"{noun} {tail}"
            if attribute in seen:
                continue
            seen.add(attribute)
            if rng.random() < 0.4:
                entity = self.entity(rng.choice(("land", "person", "org", "building")))
            value = self._values[kind]()
            statement = rng.choice(
                (
                    f"The {attribute} of {entity} is {value}.",
                    f"{entity}'s {attribute} is {value}.",
                    f"In the list {entity} stands with a {attribute} of {value}.",
                )
            )
            question = rng.choice(
                (
                    f"What is the {attribute} of {entity}?",
                    f"What is {entity}'s {attribute}?",
                    f"What {attribute} does {entity} have?",
                )
            )
            fact = Fact(entity, "attribute", "attribute", _upper(statement), None, _upper(attribute), question, value)
            blocks.append(Block(fact.statement, (fact,)))
        return blocks

    def blocks(self, count: int) -> list[Block]:
        """Blocks that hold about `count` facts together; no question has two answers."""
        made: list[Block] = []
        asked: set[str] = set()
        while (missing := count - sum(len(block.facts) for block in made)) > 0:
            roll = self.rng.random()
            several = min(missing, self.rng.randint(1, 5))
            if self.wording != "known" or roll < 0.38:
                fresh = (
                    self._same_relation(several)
                    if self.rng.random() < 0.6 or missing < 2
                    else [self._paragraph(several)]
                )
            elif roll < 0.62:
                fresh = [self._paragraph(several)]
            elif roll < 0.72:
                fresh = [self._record(several)]
            elif roll < 0.78 and missing >= 4:
                fresh = [self._table(several)]
            elif roll < 0.9:
                fresh = [self._event()]
            else:
                fresh = self._attributes(several)
            questions = [fact.question for block in fresh for fact in block.facts]
            if len(set(questions)) < len(questions) or asked & set(questions):
                continue
            asked.update(questions)
            made.extend(fresh)
        return made

    def facts(self, count: int) -> list[Fact]:
        """Single facts, for training a tokenizer."""
        return [fact for block in self.blocks(count) for fact in block.facts]

    def missing(self, present: Sequence[Fact]) -> str:
        """A question that the given facts leave open: another entity, or another relation of one of them."""
        known = {(fact.entity, fact.relation) for fact in present}
        questions = {fact.question for fact in present}
        while True:
            fact = self.rng.choice(present)
            rows = self._by_subject.get(fact.kind) or self._relations
            if fact.kind in self._by_subject and self.rng.random() < 0.6:
                candidate = self.fact(self.rng.choice(rows), fact.entity)
            else:
                same = [row for row in rows if row.name == fact.relation] or rows
                row = self.rng.choice(same)
                candidate = self.fact(row, self.entity(row.subject))
            if (candidate.entity, candidate.relation) not in known and candidate.question not in questions:
                return candidate.question
