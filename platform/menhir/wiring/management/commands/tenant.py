"""`manage.py tenant create <slug> --owner <email>`: a tenant that works at once."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import OperationalError

from menhir.errors import MenhirError
from menhir.postgres import roles
from menhir.wiring.provisioning import create_tenant


class Command(BaseCommand):
    help = "Create a tenant with its owner, a key, models, and an assistant that knows Menhir's documentation."

    def add_arguments(self, parser: CommandParser) -> None:
        """The verb: create."""
        create = parser.add_subparsers(dest="verb", required=True).add_parser("create", help="create a tenant")
        create.add_argument("slug")
        create.add_argument("--owner", required=True, metavar="EMAIL", help="made when nobody has this address")
        create.add_argument("--name", default="", help="what people call it; the slug when left out")
        create.add_argument("--json", action="store_true", help="print a JSON object")

    def handle(self, *args: Any, **options: Any) -> None:
        """Create, and print what is needed to begin; the password and the key are shown this once."""
        try:
            roles.conninfo("app")
            made = create_tenant(options["slug"], owner_email=options["owner"], name=options["name"])
        except MenhirError as e:
            raise CommandError(e.message) from e
        except (RuntimeError, OperationalError) as e:
            raise CommandError(" ".join(str(e).split())) from e
        if options["json"]:
            self.stdout.write(json.dumps(made.as_dict()))
            return
        for name, value in made.as_dict().items():
            self.stdout.write(f"{name:9} {value if value is not None else '(unchanged: the person exists)'}")
