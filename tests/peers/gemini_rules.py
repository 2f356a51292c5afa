"""What Gemini refuses, as far as a translation can get it wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

MOST_TEXTS = 100
KNOWN = {"contents", "systemInstruction", "tools", "toolConfig", "generationConfig", "safetySettings", "cachedContent", "serviceTier"}
CONFIG = {
    "temperature",
    "topP",
    "topK",
    "candidateCount",
    "maxOutputTokens",
    "stopSequences",
    "presencePenalty",
    "frequencyPenalty",
    "seed",
}
CONFIG |= {"responseLogprobs", "logprobs", "responseMimeType", "responseSchema", "responseModalities", "thinkingConfig", "mediaResolution"}
PARTS = {"text", "inlineData", "fileData", "functionCall", "functionResponse"}
SCHEMA = {"type", "format", "title", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required", "items", "anyOf"}
SCHEMA |= {
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "pattern",
    "example",
    "propertyOrdering",
    "default",
    "minimum",
    "maximum",
}
SIGNATURE = "c2lnbmVk"
SIGNATURES = {SIGNATURE, "skip_thought_signature_validator"}


def wrong(body: dict[str, Any], headers: Mapping[str, str], *, signs: bool) -> tuple[int, str]:
    """The status and message of a refusal; nought for a good request."""
    if headers.get("x-goog-api-key") == "sk-wrong":
        return 400, "API key not valid. Please pass a valid API key."
    messages = [*_names(body, KNOWN, ""), *_names(body.get("generationConfig", {}), CONFIG, "generation_config.")]
    messages += [*_contents(body, signs=signs), *_tools(body)]
    return next(((400, message) for message in messages), (0, ""))


def _names(said: dict[str, Any], known: set[str], place: str) -> Iterator[str]:
    for name in said.keys() - known:
        yield f"Invalid JSON payload received. Unknown name \"{name}\" at '{place}': Cannot find field."


def _contents(body: dict[str, Any], *, signs: bool) -> Iterator[str]:
    contents = body.get("contents") or []
    if not contents:
        yield "* GenerateContentRequest.contents: contents is not specified"
    asked: list[str] = []
    for content in contents:
        if content["role"] not in {"user", "model"}:
            yield "Please use a valid role: user, model."
        for part in content["parts"]:
            if len(part.keys() & PARTS) != 1 or part.keys() - PARTS - {"thoughtSignature", "thought"}:
                yield "contents.parts: required oneof field 'data' must have one initialized field"
            if not isinstance(part.get("functionCall", {}).get("args", {}), dict):
                yield "Invalid value at 'contents.parts.function_call.args'"
        answered = [part["functionResponse"]["name"] for part in content["parts"] if "functionResponse" in part]
        if sorted(answered) != sorted(asked):
            yield "Please ensure that the number of function response parts is equal to the number of function call parts."
        calls = [part for part in content["parts"] if "functionCall" in part]
        if signs and calls and calls[0].get("thoughtSignature") not in SIGNATURES:
            yield f"Function call `{calls[0]['functionCall']['name']}` is missing a `thought_signature`."
        asked = [call["functionCall"]["name"] for call in calls]


def _tools(body: dict[str, Any]) -> Iterator[str]:
    functions = [function for tool in body.get("tools", []) for function in tool.get("functionDeclarations", [])]
    for function in functions:
        yield from _names(function, {"name", "description", "parameters"}, "tools.function_declarations.")
        if "parameters" in function:
            yield from _schema(function["parameters"])
    if "responseSchema" in body.get("generationConfig", {}):
        yield from _schema(body["generationConfig"]["responseSchema"])
    names = {function["name"] for function in functions}
    chosen = body.get("toolConfig", {}).get("functionCallingConfig", {})
    if set(chosen.get("allowedFunctionNames", [])) - names:
        yield "allowed_function_names should be a subset of the declared functions"


def _schema(schema: dict[str, Any]) -> Iterator[str]:
    yield from _names(schema, SCHEMA, "parameters.")
    if not isinstance(schema.get("type", ""), str):
        yield "Proto field is not repeating, cannot start list: type"
    if schema.get("type") == "object" and schema.get("properties") == {}:
        yield "parameters.properties: should be non-empty for OBJECT type"
    if any(not isinstance(value, str) for value in schema.get("enum", [])):
        yield "Invalid value at 'enum' (TYPE_STRING)"
    if schema.get("type") == "array" and "items" not in schema:
        yield "items: missing field."
    for inner in [*schema.get("properties", {}).values(), *schema.get("anyOf", []), *([schema["items"]] if "items" in schema else [])]:
        yield from _schema(inner)
