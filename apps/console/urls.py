"""The console's addresses: `/t/<tenant>/console/…`."""

from __future__ import annotations

from django.urls import URLPattern, include, path

from apps.console.pages import (
    assistants,
    collections,
    documents,
    guardrails,
    keys,
    limits,
    overview,
    people,
    prompts,
    providers,
    releases,
    routes,
    usage,
)

app_name = "console"

_pages: list[URLPattern] = [
    path("", overview.page, name="overview"),
    path("usage/", usage.page, name="usage"),
    path("models/", routes.index, name="routes"),
    path("models/new", routes.create, name="new_route"),
    path("models/<uuid:route>/", routes.page, name="route"),
    path("models/<uuid:route>/edit", routes.change, name="edit_route"),
    path("models/<uuid:route>/remove", routes.remove, name="remove_route"),
    path("providers/new", providers.create, name="new_provider"),
    path("providers/<str:provider>/", providers.page, name="provider"),
    path("providers/<str:provider>/remove", providers.remove, name="remove_provider"),
    path("prompts/", prompts.index, name="prompts"),
    path("prompts/new", prompts.create, name="new_prompt"),
    path("prompts/<str:prompt>/", prompts.page, name="prompt"),
    path("prompts/<str:prompt>/save", prompts.save, name="save_prompt"),
    path("prompts/<str:prompt>/preview", prompts.preview, name="preview_prompt"),
    path("prompts/<str:prompt>/compare", releases.compare, name="compare_prompt"),
    path("prompts/<str:prompt>/versions/<int:number>/release", releases.release, name="release_prompt"),
    path("prompts/<str:prompt>/archive", releases.archive, name="archive_prompt"),
    path("assistants/", assistants.index, name="assistants"),
    path("assistants/new", assistants.create, name="new_assistant"),
    path("assistants/<str:assistant>/", assistants.page, name="assistant"),
    path("collections/", collections.index, name="collections"),
    path("collections/new", collections.create, name="new_collection"),
    path("collections/<str:collection>/", collections.page, name="collection"),
    path("collections/<str:collection>/remove", collections.remove, name="remove_collection"),
    path("documents/<uuid:document>/", documents.page, name="document"),
    path("documents/<uuid:document>/retry", documents.retry, name="retry_document"),
    path("documents/<uuid:document>/remove", documents.remove, name="remove_document"),
    path("limits/", limits.index, name="limits"),
    path("limits/new", limits.create, name="new_limit"),
    path("limits/<uuid:limit>/", limits.page, name="limit"),
    path("limits/<uuid:limit>/remove", limits.remove, name="remove_limit"),
    path("guardrails/", guardrails.index, name="guardrails"),
    path("guardrails/new", guardrails.create, name="new_guardrail"),
    path("guardrails/check", guardrails.check, name="check_guardrails"),
    path("guardrails/<str:guardrail>/", guardrails.page, name="guardrail"),
    path("guardrails/<str:guardrail>/secret", guardrails.renew_secret, name="renew_guardrail_secret"),
    path("guardrails/<str:guardrail>/remove", guardrails.remove, name="remove_guardrail"),
    path("keys/", keys.index, name="keys"),
    path("keys/new", keys.create, name="new_key"),
    path("keys/<uuid:key>/revoke", keys.revoke, name="revoke_key"),
    path("people/", people.index, name="people"),
    path("people/new", people.add, name="add_person"),
    path("people/<uuid:membership>", people.change, name="change_person"),
    path("people/<uuid:membership>/remove", people.remove, name="remove_person"),
]
urlpatterns = [path("t/<slug:tenant>/console/", include(_pages))]
