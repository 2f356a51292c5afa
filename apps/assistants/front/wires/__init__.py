"""Other wires at the front door: a client that does not speak OpenAI's chat is translated in, and its answer back.

The corridor speaks OpenAI's chat wire and nothing else; limits, guards, caches, fallback and the ledger therefore hold for every wire
without knowing of it. A wire is one folder `wires/<name>/` with what its direction needs, one thing a file:

    decode.py   the client's body -> the body of a chat call; raises MalformedRequest in the words of the client's own wire
    encode.py   a whole chat answer -> a whole answer of the wire
    stream.py   chat chunks, one after the other -> the wire's events; a plain object that keeps where it is, no I/O
    errors.py   a `MenhirError`, or an error told inside a stream -> the wire's shape and status
    wire.py     a `Wire` (`name`, `path`, `replies`, `decode`) and its `WireReply`, which tie the four together; it stands in
                `registry.EVERY`

The walk of one request (`door.py`):

1. `registry.find(path)` gives the wire, by the path itself or by its first two segments (`/v1/responses/resp_1` -> `/v1/responses`).
   The plain paths (`/v1/chat/completions`, …) are looked up before and never come here. Where both have a path (`/v1/models`), a
   request with `anthropic-version` is Anthropic's.
2. `wire.reply(send, asked)` makes the way back (`Wire.replies` is its class) **before anything can fail**: a missing key is refused in the
   client's shape, too.
3. A `POST` to the path itself: the key is checked, the body read (with its limit) and parsed to an object, then
   `await wire.decode(fields, who=…, reply=…)` gives `Decoded`. `fields` is the wire's to keep or change. It may ask the database (a
   stored conversation), may set what the reply has to remember (`reply` is the object that `wire.reply` made), and raises MenhirErrors.
   `Decoded.body` is a chat body like a client's own: `model`, `messages`, `tools`, `stream`, the members `prompt` and `menhir` of ours;
   it is checked again as any chat body is. A wire whose stream tells usage sets `stream_options.include_usage`, else the relay keeps the
   usage chunk to itself. A caller's person goes into `user`: it is the unit of limits and of sticky assignment.
   The call carries `call.wire = wire.name`, and the reply knows it as `reply.call` from then on; its ledger row says `chat`, which is
   what the upstream was asked.
4. Anything else at or below the path (another method, `GET /v1/responses/{id}`, `POST /v1/messages/count_tokens`) is
   `await wire.beside(scope, asked, receive, reply)`, which admits for itself and answers by `reply.json(…)`; it raises what it cannot
   answer (`UnknownEndpoint`, `WrongMethod`), and the default knows nothing.

The way back (`frame.WireReply`, the gateway's `Respond`) takes what the relay sends, whatever it is cut into, and calls exactly these:

- whole:   `await whole(answer)` once, with the parsed chat answer; gives the body as bytes. Status and headers are sent after it.
- stream:  `chunk(chunk)` for each parsed chat chunk, the usage chunk (`choices: []`) included, and the preface (`menhir`); `comment()`
  for a keep-alive; then once, and last, either `await done()` (all is well: the call is settled) or `broken(said)` with the member
  `error` of the event that ended it, `{message, type, param, code}`. Each gives bytes to send, which may be empty.
- errors before an answer: `error_body(error)` gives the body, `status(error)` the status.

`whole` and `done` are awaited so that a wire can store what it answered. They are called after settlement and before the client's last
byte; what they raise is told to the client as an error, and the call stays settled as completed. A client that hangs up reaches neither.
`added(headers)` gives what a wire adds to each answer's headers, by default `wire_headers`. A reply that sets `native` passes everything
through untouched.
"""
