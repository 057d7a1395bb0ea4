#!/usr/bin/env python3
import os
import sys

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "project.settings")
    if os.environ.get("FFLAG_DRIVER") == "psycopg2":
        sys.modules["psycopg"] = None  # Django takes psycopg 3 if it can be imported

    import snippets

    snippets.write()
    from django.core.management import execute_from_command_line

    execute_from_command_line(sys.argv)
