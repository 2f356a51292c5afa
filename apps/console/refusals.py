"""What a noun refuses appears at the field it is about."""

from __future__ import annotations

from django import forms

from menhir.errors import MenhirError


def show_refusal(form: forms.Form, refusal: MenhirError) -> None:
    """Put the sentence of a refusal where the person who must act on it looks."""
    form.add_error(refusal.param if refusal.param in form.fields else None, refusal.message)
