"""The API call that does what a page does, to be copied as curl or Python; and texts with colours."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.conf import settings
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name

KEY = "$MENHIR_API_KEY"
PLACEHOLDER = re.compile(r"\{\{.*?\}\}|\{%.*?%\}|\{#.*?#\}", re.DOTALL)
FORMATTER = HtmlFormatter(nowrap=True)


@dataclass(frozen=True, slots=True)
class ApiCall:
    """One request to the public API, or to the OpenAI wire when the path begins with /v1."""

    method: str
    path: str
    body: Mapping[str, Any] | None = None

    @property
    def url(self) -> str:
        """Where it goes."""
        return f"{settings.MENHIR_PUBLIC_URL}{self.path}"

    @property
    def curl(self) -> str:
        r"""For a terminal.

        >>> print(ApiCall("DELETE", "/api/v1/x").curl.replace(settings.MENHIR_PUBLIC_URL, "http://here"))
        curl -X DELETE http://here/api/v1/x \
          -H "Authorization: Bearer $MENHIR_API_KEY"
        """
        url = f"'{self.url}'" if "?" in self.url else self.url
        lines = [f"curl -X {self.method} {url}", f'  -H "Authorization: Bearer {KEY}"']
        if self.body is not None:
            written = json.dumps(self.body, indent=2, ensure_ascii=False).replace("'", "'\\''")
            lines += ['  -H "Content-Type: application/json"', f"  -d '{written}'"]
        return " \\\n".join(lines)

    @property
    def python(self) -> str:
        """For a program: httpx, or the official client for the OpenAI wire."""
        if self.path == "/v1/chat/completions" and self.body is not None:
            return self._openai(self.body)
        body = f",\n    json={python(self.body)}" if self.body is not None else ""
        return (
            "import os\n\nimport httpx\n\n"
            f'response = httpx.{self.method.lower()}(\n    "{self.url}",\n'
            f'    headers={{"Authorization": f"Bearer {{os.environ[\'MENHIR_API_KEY\']}}"}}{body},\n)\n'
            "response.raise_for_status()\nprint(response.json())"
        )

    def _openai(self, body: Mapping[str, Any]) -> str:
        own = {key: value for key, value in body.items() if key == "prompt"}
        arguments = [f"    {key}={python(value)}," for key, value in body.items() if key not in own]
        if own:
            arguments.append(f"    extra_body={python(own)},")
        listed = "\n".join(arguments)
        return (
            "import os\n\nfrom openai import OpenAI\n\n"
            f'client = OpenAI(base_url="{settings.MENHIR_PUBLIC_URL}/v1", api_key=os.environ["MENHIR_API_KEY"])\n'
            f"answer = client.chat.completions.create(\n{listed}\n)\nprint(answer.choices[0].message.content)"
        )

    @property
    def curl_html(self) -> SafeString:
        """`curl` with colours."""
        return coloured(self.curl, "bash")

    @property
    def python_html(self) -> SafeString:
        """`python` with colours."""
        return coloured(self.python, "python")


def python(value: Any) -> str:
    """A value as Python writes it, indented as an argument.

    >>> python({"a": [True, None]})
    '{"a": [True, None]}'
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(key)}: {python(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(python(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(value)


def coloured(code: str, language: str) -> SafeString:
    """Code with Pygments' classes."""
    html: str = highlight(code, get_lexer_by_name(language), FORMATTER)
    return mark_safe(html)  # noqa: S308 - Pygments escapes


def with_variables_marked(text: str) -> SafeString:
    """A prompt's text with its `{{ variables }}` marked.

    >>> str(with_variables_marked("Hi <b> {{ name }}"))
    'Hi &lt;b&gt; <mark class="variable">{{ name }}</mark>'
    """
    pieces: list[str] = []
    end = 0
    for match in PLACEHOLDER.finditer(text):
        kind = "variable" if match[0].startswith("{{") else "logic"
        pieces += [escape(text[end : match.start()]), f'<mark class="{kind}">{escape(match[0])}</mark>']
        end = match.end()
    return mark_safe("".join([*pieces, escape(text[end:])]))  # noqa: S308 - every piece was escaped above
