import os
import re
import subprocess
import tempfile
import unittest
from pathlib import Path

import snippets
from django.db import connection
from django.test import TransactionTestCase

from flags.models import Flag


@unittest.skipUnless("FFLAG_NODE_MODULES" in os.environ, os.environ.get("FFLAG_NO_NODE", "FFLAG_NODE_MODULES is not set"))
class RecipeTest(TransactionTestCase):
    def test_recipe(self):
        """The JavaScript of docs/clients.md prints what its comments say."""
        self.addCleanup(Flag.objects.all().delete)
        flag = Flag.objects.create(name="new_checkout", enabled=True, rollout_percentage=10)
        flag.allowlist = ["42"]
        Flag.objects.create(name="dark_mode", enabled=True, rollout_percentage=100)

        recipe = "".join(snippets.blocks("clients.md", "js"))
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "node_modules").symlink_to(os.environ["FFLAG_NODE_MODULES"])
            Path(folder, "recipe.mjs").write_text(recipe)
            node = subprocess.run(
                ["node", "recipe.mjs"], cwd=folder, env=os.environ | {"PGDATABASE": connection.settings_dict["NAME"]},
                timeout=60, capture_output=True, text=True)
        self.assertEqual(node.stderr, "")
        self.assertEqual(node.stdout.splitlines(), re.findall(r"// => (.*)", recipe))
        self.assertGreater(recipe.count("// => "), 0)
