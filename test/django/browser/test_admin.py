"""A person's way through the admin of feature-flag-infra, whose flags are attached."""
import os

from feature_flag_infra.django.models import FeatureFlag
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from .person import PEOPLE, PersonTest

FLAG = "new_checkout"
# root's bucket under the flag is 30, the others' are 72, 9, 18 and 26


class AdminTest(PersonTest):
    flags = "feature_flag_infra/featureflag"
    flag = FLAG

    def setUp(self):
        super().setUp()
        FeatureFlag.objects.create(name="beta_search", staff_only=True, description="Search as you type")
        FeatureFlag.objects.create(name="dark_mode", enabled=True, rollout_percentage=100)
        FeatureFlag.objects.create(name=FLAG, description="One page instead of three")

    def test_way_through(self):
        """Each save in the admin is seen by the next statement of sessions that were open all along."""
        with self.at_browser():
            self.way_through()

    def way_through(self):
        self.assert_answers(dict.fromkeys(PEOPLE, "(f,disabled)"))

        self.log_in()
        self.open_flag()
        self.find("#id_enabled").click()
        self.save()
        self.assert_answers(dict.fromkeys(PEOPLE, "(f,no_rollout)"))

        self.open_flag()
        self.type("#id_rollout_percentage", "25")
        self.save()
        at_25 = dict.fromkeys(PEOPLE, "(f,rollout)") | {"bob": "(t,rollout)", "carol": "(t,rollout)"}
        self.assert_answers(at_25)

        self.open_flag()
        self.find(".field-users .select2-selection").click()
        self.find(".select2-search__field").send_keys("alice")
        self.wait(lambda: (option := self.find(".select2-results__option--highlighted")).text == "alice" and option).click()
        self.save()
        self.assert_answers(at_25 | {"alice": "(t,allowlist)"})

        # by SQL
        for percentage in (30, 25):
            self.sessions[0].execute(
                "UPDATE feature_flag_infra_featureflag SET rollout_percentage = %s WHERE name = %s", [percentage, FLAG])
        self.open_flag()
        self.assert_history([
            ("", "flag updated", "rollout_percentage: 30 → 25"),
            ("", "flag updated", "rollout_percentage: 25 → 30"),
            ("root", "user listed", str(PEOPLE["alice"])),
            ("root", "flag updated", "rollout_percentage: 0 → 25"),
            ("root", "flag updated", "enabled: False → True"),
        ])

        self.open_list()
        self.screenshot("admin-list.png", 790)
        self.open_flag()
        self.screenshot("admin-flag.png", 1300)
        self.find(".select2-selection__choice[title=alice] .select2-selection__choice__remove").click()
        self.find(".select2-search__field").send_keys(Keys.ESCAPE)  # closes the list of users, it may cover what follows
        self.save()
        self.assert_answers(at_25)

        self.open_flag()
        self.find(".deletelink").click()
        self.find("input[type=submit][value^=Yes]").click()
        self.find(".messagelist .success")
        self.assert_answers(dict.fromkeys(PEOPLE, "(f,unknown_flag)"))

    # ---- what fflag says

    def assert_answers(self, expected):
        """Compares everybody's answer and the rule that decided, in all sessions."""
        for session in self.sessions:
            # from no table: to lock one lets messages of changes in
            answers = session.execute(
                """
                SELECT name, (fflag_enabled(%(flag)s, id, name = 'root'), rule)::text
                FROM unnest(%(names)s::text[], %(ids)s::bigint[]) AS u (name, id),
                    fflag_explain(%(flag)s, id, name = 'root')
                """, {"flag": FLAG, "names": [*PEOPLE], "ids": [*PEOPLE.values()]}).fetchall()
            self.assertEqual(dict(answers), expected)

    def assert_history(self, expected):
        """Compares who did what since the flag was created, newest first; there is nothing to click or type."""
        field = self.find(".field-changes")
        rows = [[cell.text for cell in row.find_elements(By.TAG_NAME, "td")]
                for row in field.find_elements(By.CSS_SELECTOR, "tr:has(td)")]
        *changes, created = [(actor, what, about) for _, actor, _, what, about in rows]
        self.assertEqual(changes, expected)
        self.assertEqual(created[:2], ("", "flag created"))
        self.assertEqual({role for _, _, role, _, _ in rows}, {os.environ["PGUSER"]})
        self.assertEqual(field.find_elements(By.CSS_SELECTOR, "input, textarea, select, a"), [])
