"""What can go wrong with a prompt.

* Invalid
  x PromptRefused ............ the text itself cannot be used
    + PromptSyntaxError        it does not parse; the message names the line
    + UnsupportedSyntax        it parses, and asks for more than a prompt may do
  x VariablesRefused ......... the text is fine, the values are not
    + MissingVariable          the text needs a value that was not given
    + UnknownVariable          a value was given that the text has no place for
    + UnusableVariable         a value is of a kind that the text cannot use there
  x RenderedTooLong .......... text and values together exceed the limit
  x ForeignVersion ........... the version is another prompt's
* NotFound
  x UnknownPrompt ............ no prompt of that name here
  x UnknownVersion ........... the prompt has no version of that number
  x NotReleased .............. nothing is released under that label
* Conflict
  x PromptExists ............. the slug is taken
  x PromptArchived ........... an archived prompt takes no versions and no releases
"""

from __future__ import annotations

from menhir.errors import Conflict, Invalid, NotFound


class PromptRefused(Invalid):
    """The text cannot be used as a prompt."""

    code = "prompt_refused"


class PromptSyntaxError(PromptRefused):
    """The prompt's text does not parse."""

    code = "prompt_syntax_error"


class UnsupportedSyntax(PromptRefused):
    """The prompt's text uses something that prompts may not do."""

    code = "unsupported_prompt_syntax"


class VariablesRefused(Invalid):
    """These variables do not fit the prompt."""

    code = "variables_refused"


class MissingVariable(VariablesRefused):
    """A variable of the prompt has no value."""

    code = "missing_variable"


class UnknownVariable(VariablesRefused):
    """A value was given for a variable that the prompt does not have."""

    code = "unknown_variable"


class UnusableVariable(VariablesRefused):
    """A variable's value is of a kind that the prompt cannot use."""

    code = "unusable_variable"


class RenderedTooLong(Invalid):
    """The rendered prompt is too long."""

    code = "rendered_prompt_too_long"


class ForeignVersion(Invalid):
    """The version belongs to another prompt."""

    code = "foreign_version"


class UnknownPrompt(NotFound):
    """There is no such prompt."""

    code = "prompt_not_found"


class UnknownVersion(NotFound):
    """The prompt has no such version."""

    code = "prompt_version_not_found"


class NotReleased(NotFound):
    """Nothing is released under this label."""

    code = "prompt_not_released"


class PromptExists(Conflict):
    """A prompt with this slug exists already."""

    code = "prompt_exists"


class PromptArchived(Conflict):
    """The prompt is archived; restore it first."""

    code = "prompt_archived"
