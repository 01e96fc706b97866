"""Chat templates are rendered as transformers renders them."""

import pytest
from jinja2.exceptions import SecurityError, TemplateError
from transformers.utils.chat_template_utils import render_jinja_template

from beacon_cli.checkpoints.tokenizer.template import render

MESSAGES = [
    {"role": "system", "content": " Be <terse> & “exact”. "},
    {"role": "user", "content": "Who?\n"},
    {"role": "assistant", "content": "It."},
    {"role": "user", "content": "{{ eos_token }}"},
]
TEMPLATES = {
    "blocks": "{% for m in messages %}\n    {{ m.role }}: {{ m['content'] | trim }}\n  {%- endfor %}\n",
    "loop controls": "{% for m in messages %}{% if m.role == 'system' %}{% continue %}{% endif %}{{ m }}"
    "{% if loop.index > 2 %}{% break %}{% endif %}{% endfor %}",
    "namespace": "{% set ns = namespace(last=-1, other=dict(a=1)) %}{% for m in messages %}"
    "{% if m.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor %}{{ ns.last }} {{ ns.other.a }}",
    "json": "{{ messages | tojson }}{{ messages | tojson(indent=2) }}"
    "{{ {'b': 1, 'a': '<é>'} | tojson(sort_keys=true) }}",
    "generation": "{% set x = 1 %}{% for m in messages %}{% generation %}\n{% set x = m.role %}{{ x }}\n"
    "{% endgeneration %}\n{% endfor %}{{ x }}",
    "names": "{{ bos_token }}{{ nobody }}{% if tools %}tools{% endif %}{{ documents is none }}{{ enable_thinking }}"
    "{{ add_generation_prompt }}{{ 'Who' in messages[1].content }}{{ messages[1:] | length }}{{ dict.fromkeys('ab') }}",
}


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_is_rendered_as_by_transformers(name: str) -> None:
    names = {"bos_token": "<s>", "eos_token": "</s>", "add_generation_prompt": True, "enable_thinking": False}
    expected, _ = render_jinja_template([MESSAGES], chat_template=TEMPLATES[name], **names)
    assert render(TEMPLATES[name], MESSAGES, **names) == expected[0]


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.append(1) }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ dict.mro() }}",
        "{{ dict.__subclasses__() }}",
        "{% set ns = namespace(__class__=1) %}",
        "{% set ns = namespace() %}{% set ns.__init__ = 1 %}",
        "{{ raise_exception('roles must alternate') }}",
    ],
)
def test_what_reaches_out_of_the_sandbox_is_refused(template: str) -> None:
    with pytest.raises((SecurityError, TemplateError)):
        render(template, MESSAGES)
    with pytest.raises((SecurityError, TemplateError)):
        render_jinja_template([MESSAGES], chat_template=template)
