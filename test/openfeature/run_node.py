"""Runs the tests of the Node provider, with pgbouncer and a server that they can start, and prints their TAP.

Node nests its TAP, and says more of what passed than we want to see.
"""
import os
import re
import subprocess
import sys
from contextlib import nullcontext

from common import OWNER, PGBOUNCER, pgbouncer, sql

data, port = sql("SELECT current_setting('data_directory'), current_setting('port')", conninfo="dbname=postgres")[0]
restart = f"pg_ctl -D {data} -l {os.environ['PGHOST']}/server.log -m fast -w restart"
if os.geteuid() == 0:
    restart = f"runuser -u {OWNER} -- {restart}"
environment = os.environ | {"PGDATABASE": "postgres", "FFLAG_RESTART": restart}

with pgbouncer() if PGBOUNCER else nullcontext() as conninfo:
    if conninfo:
        environment |= {"FFLAG_PGBOUNCER_HOST": re.search("host=(\\S+)", conninfo)[1], "FFLAG_PGBOUNCER_PORT": port}
    node = subprocess.Popen(["node", "--test", "--test-reporter=tap", "all.test.mjs"], cwd="node", env=environment,
                            stdout=subprocess.PIPE, text=True, encoding="utf-8")
    shown = False
    for line in map(str.strip, node.stdout):
        if re.match("(not )?ok ", line):
            shown = line.startswith("not")
            print(line, flush=True)
        elif shown:
            print(line, flush=True)
        shown = shown and line != "..."
    sys.exit(node.wait())
