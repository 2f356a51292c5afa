"""Conversations with live answers.

A `Conversation` belongs to one person; its `Message`s form a tree, because an edited question and a regenerated answer stand
beside what they replace. An answer is written by a task of whichever web process was asked, into the stream journal; sockets
and pages only read along. What always holds: an answer's text is durable before its run is said to be over, and a message that
says it is being written either is, or becomes `interrupted` for the next reader.
"""
