"""A person's way through the admin over the extension's own tables: relations, denylist, variants."""
import hashlib
import math

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select

from flags.models import Flag

from .person import PEOPLE, PersonTest


def number(text):
    return int.from_bytes(hashlib.md5(text.encode()).digest()[:8], "big")


def variant(user_id, variants):
    """As docs/reference.md says: the lowest -log(number of user and variant) / weight."""
    def score(item):
        name, weight = item
        x = number(f"button:{user_id}") ^ number(name)
        x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 % 2**64
        x = (x ^ x >> 27) * 0x94D049BB133111EB % 2**64
        return -math.log(max(x ^ x >> 31, 1) / 2**64) / weight

    return min(variants, key=score)[0]


class PlainAdminTest(PersonTest):
    flags = "flags/flag"
    flag = "button"

    def setUp(self):
        super().setUp()
        self.addCleanup(Flag.objects.all().delete)
        Flag.objects.create(name="payments", enabled=True, rollout_percentage=100)
        Flag.objects.create(name="button", enabled=True, rollout_percentage=100)
        Flag.objects.create(name="later", enabled=True, rollout_percentage=100)

    def test_way_through(self):
        """Relations, denylist and variants: each save is seen by the next statement of sessions that were open."""
        with self.at_browser():
            self.log_in()
            self.relations()
            self.denylist()
            self.variants()
            self.refusals()
            self.deletion()

    def relations(self):
        self.assert_answers("(t,full_rollout,)")
        self.open_flag()
        self.find("#relations-group .add-row a").click()
        # a younger flag will do
        self.relate(0, "only for users who get", "later")
        self.save()
        self.assert_answers("(t,full_rollout,)")
        self.switch("later")
        self.assert_answers("(f,prerequisite,)")
        self.switch("later")
        self.assert_answers("(t,full_rollout,)")
        self.open_flag()
        self.relate(0, "not for users who get", "later")
        self.save()
        self.assert_answers("(f,excluded,)")
        self.open_flag()
        self.relate(0, "only for users who get", "payments")
        self.save()
        self.assert_answers("(t,full_rollout,)")
        self.open_flag("payments")
        self.find("#relations-group .add-row a").click()
        self.relate(0, "also for users who get", "button")
        self.find("input[name=_save]").click()
        self.assertIn("would depend on itself", self.find(".messagelist .error").text)

    def denylist(self):
        self.open_flag()
        self.type("#id_denylist", f"{PEOPLE['alice']}\n{PEOPLE['bob']}\n")
        self.type("#id_allowlist", f"{PEOPLE['alice']}")
        self.save()
        self.assert_answers("(t,full_rollout,)", alice="(f,denied,)", bob="(f,denied,)")
        self.open_flag()
        self.assertEqual(self.find("#id_denylist").get_attribute("value"), "2\n6")
        self.type("#id_denylist", f"{PEOPLE['bob']}")
        self.save()
        self.assert_answers("(t,full_rollout,)", bob="(f,denied,)")

    def variants(self):
        self.open_flag()
        for number, (name, weight) in enumerate({"green": "2.5", "blue": "1"}.items()):
            self.find("#variants-group .add-row a").click()
            self.type(f"#id_variants-{number}-name", name)
            self.type(f"#id_variants-{number}-weight", weight)
        self.type("#id_variants-0-payload", '{"color": "#0c0"}')
        self.save()
        self.assert_variants(("blue", 1), ("green", 2.5))
        self.open_flag()
        weights = {self.find(f"#id_variants-{n}-name").get_attribute("value"): f"#id_variants-{n}-weight" for n in range(2)}
        self.type(weights["blue"], "-1")
        self.find("input[name=_save]").click()
        self.assertIn("greater than or equal to 0", self.find(".errorlist").text)
        self.type(weights["blue"], "1000")
        self.save()
        self.assert_variants(("blue", 1000), ("green", 2.5))
        self.open_flag()
        self.find(weights["blue"].replace("weight", "DELETE")).click()
        self.save()
        self.assert_variants(("green", 2.5))
        for session in self.sessions:
            color, = session.execute("SELECT fflag_variant_payload('button', 1) ->> 'color'").fetchone()
            self.assertEqual(color, "#0c0")

    def refusals(self):
        """What only the database minds is a message."""
        self.open_flag()
        self.find("#variants-group .add-row a").click()
        self.type("#id_variants-1-name", "gr\N{ZERO WIDTH SPACE}een")
        self.find("input[name=_save]").click()
        self.assertIn("has an invisible character", self.find(".messagelist .error").text)
        self.assertEqual(self.find("#id_variants-0-name").get_attribute("value"), "green")
        self.assert_variants(("green", 2.5))

    def deletion(self):
        self.open_flag("payments")
        self.find(".deletelink").click()
        content = self.find("#content")
        self.assertIn("would require deleting the following protected related objects", content.text)
        self.assertEqual(content.find_elements(By.CSS_SELECTOR, "input[type=submit]"), [])
        self.open_flag()
        self.find("#id_relations-0-DELETE").click()
        self.save()
        for name in ("payments", "button"):
            self.open_flag(name)
            self.find(".deletelink").click()
            self.find("input[type=submit][value^=Yes]").click()
            self.find(".messagelist .success")
        self.assert_answers("(f,unknown_flag,)")

    # ---- what fflag says

    def assert_answers(self, answer, **others):
        """Compares everybody's answer, the rule that decided, and the variant, in all sessions."""
        for session in self.sessions:
            # from no table: to lock one lets messages of changes in
            answers = session.execute(
                """
                SELECT name, (fflag_enabled('button', id), rule, variant)::text
                FROM unnest(%(names)s::text[], %(ids)s::bigint[]) AS u (name, id), fflag_explain('button', id)
                """, {"names": [*PEOPLE], "ids": [*PEOPLE.values()]}).fetchall()
            self.assertEqual(dict(answers), dict.fromkeys(PEOPLE, answer) | others)

    def assert_variants(self, *variants):
        expected = {name: f"(t,full_rollout,{variant(number, variants)})" for name, number in PEOPLE.items()}
        self.assert_answers("", **expected | {"bob": "(f,denied,)"})

    # ---- what a person does

    def relate(self, number, kind, other):
        for name, choice in ("kind", kind), ("other", other):
            Select(self.find(f"#id_relations-{number}-{name}")).select_by_visible_text(choice)

    def switch(self, name):
        """Clicks on "enabled" in the list, and saves."""
        self.open_list()
        row = next(row for row in self.browser.find_elements(By.CSS_SELECTOR, "#result_list tbody tr")
                   if row.find_element(By.CSS_SELECTOR, ".field-name").text == name)
        row.find_element(By.CSS_SELECTOR, ".field-enabled input").click()
        self.save()
