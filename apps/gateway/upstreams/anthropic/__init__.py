"""Anthropic's Messages API, and every server that speaks it."""

from apps.gateway.upstreams.anthropic.exchange import Anthropic

adapter = Anthropic()
