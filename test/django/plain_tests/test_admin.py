"""A project without the package: the models and the admin of docs/django.md over the extension's own tables."""
import json
from decimal import Decimal
from unittest.mock import patch

from django.contrib.auth.models import User
from django.db import DatabaseError, connection, transaction
from django.db.models import DO_NOTHING, F, RestrictedError
from django.test import RequestFactory, TestCase

from flags import queries
from flags.actor import Middleware
from flags.functions import FlagEnabled, FlagVariant
from flags.models import Flag, Relation, Variant


def ask(query, *parameters):
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone()[0]


def inline(flag=None, *variants):
    """The fields of the inline form: a variant is (name, weight, payload), with "DELETE" behind it to delete it."""
    old = {variant.name: variant.pk for variant in flag.variants.all()} if flag else {}
    # the formset wants the old ones first, in their order
    fields = {"variants-TOTAL_FORMS": len(variants), "variants-INITIAL_FORMS": sum(name in old for name, *_ in variants)}
    for number, (name, weight, payload, *delete) in enumerate(sorted(variants, key=lambda v: v[0] not in old)):
        form = f"variants-{number}-"
        fields |= {f"{form}flag": flag.pk if flag else "", f"{form}id": old.get(name, ""), f"{form}name": name,
                   f"{form}weight": weight, f"{form}payload": json.dumps(payload)}
        fields |= {f"{form}DELETE": "on"} if delete else {}
    return fields | related()


def related(flag=None, *relations):
    """The same of relations: (kind, other flag, its variant, pin), with "DELETE" behind it to delete it."""
    old = {(r.other, r.other_variant or ""): r.pk for r in flag.relations.all()} if flag else {}
    fields = {"relations-TOTAL_FORMS": len(relations), "relations-INITIAL_FORMS": sum(r[1:3] in old for r in relations)}
    for number, (kind, other, variant, pin, *delete) in enumerate(sorted(relations, key=lambda r: r[1:3] not in old)):
        form = f"relations-{number}-"
        fields |= {f"{form}flag": flag.pk if flag else "", f"{form}id": old.get((other, variant), ""), f"{form}kind": kind,
                   f"{form}other": other.pk, f"{form}other_variant": variant, f"{form}pin": pin}
        fields |= {f"{form}DELETE": "on"} if delete else {}
    return fields


class Admin(TestCase):
    @classmethod
    def setUpTestData(cls):
        cls.admin = User.objects.create_superuser("admin")

    def setUp(self):
        self.client.force_login(self.admin)

    def post(self, url, **fields):
        response = self.client.post(url, inline() | fields)
        self.assertEqual(response.status_code, 302, getattr(response, "context_data", {}).get("errors"))

    def refused(self, url, message, **fields):
        """What the form does not mind and the database does is said on the next page."""
        response = self.client.post(url, inline() | fields, follow=True)
        self.assertEqual(response.redirect_chain, [(url, 302)])
        self.assertIn(message, "".join(map(str, response.context["messages"])))
        self.assertContains(response, '<li class="error">')

    def enabled(self, user_id):
        return ask("SELECT fflag_enabled('new_checkout', %s)", user_id)

    def test_admin(self):
        """added, edited, listed, searched, filtered and deleted in the admin"""
        add = "/admin/flags/flag/add/"
        self.post(add, name="new_checkout", enabled="on", rollout_percentage="0", description="")
        self.assertIs(self.enabled(42), False)
        flag = Flag.objects.get()
        change = f"/admin/flags/flag/{flag.pk}/change/"
        page = {"name": "new_checkout", "enabled": "on", "rollout_percentage": "12.5", "description": "x"}
        self.post(change, **page, allowlist="42\r\nalice@example.com\r\nBob Smith\r\n")
        self.assertEqual(flag.allowlist, ["42", "Bob Smith", "alice@example.com"])
        for user_id in (42, "alice@example.com", "Bob Smith"):
            self.assertIs(self.enabled(user_id), True)
        self.assertEqual(ask("SELECT rollout_percentage FROM feature_flag"), Decimal("12.5"))
        self.assertContains(self.client.get(change), ">\n42\nBob Smith\nalice@example.com</textarea>")

        # who changed what, with the middleware's actor
        for line in ("<td>user listed</td><td>3 users</td>", "<td>flag updated</td><td>description:  → x, rollout_percentage: 0 → 12.5</td>"):
            self.assertContains(self.client.get(change), f"<td>admin</td><td>{ask('SELECT session_user')}</td>{line}")

        # who saves without touching the list leaves what others have added meanwhile
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO feature_flag_user (flag_id, user_id) VALUES (%s, '43')", [flag.pk])
        self.post(change, **page, allowlist="42\r\n43\r\nBob Smith\r\nalice@example.com")
        self.assertEqual(len(flag.allowlist), 4)
        self.post(change, **page, allowlist="43")
        self.assertIs(self.enabled(43), True)
        self.assertEqual(flag.allowlist, ["43"])

        self.post(change, **page, allowlist="43", denylist=" 44 \r\n\r\n43")
        self.assertEqual(ask("SELECT rule FROM fflag_explain('new_checkout', 43)"), "denied")
        self.assertEqual(flag.denylist, ["43", "44"])
        self.assertContains(self.client.get(change), ">\n43\n44</textarea>")
        self.post(change, **page, allowlist="43", denylist="44")
        self.assertIs(self.enabled(43), True)

        Flag.objects.create(name="dark_mode")
        for query, names in (
            ("", {"new_checkout", "dark_mode"}),
            ("?q=dark", {"dark_mode"}),
            ("?enabled__exact=1", {"new_checkout"}),
        ):
            response = self.client.get(f"/admin/flags/flag/{query}")
            self.assertEqual({flag.name for flag in response.context["cl"].queryset}, names)

        response = self.client.post(change, inline() | page | {"rollout_percentage": "101"})
        self.assertContains(response, "less than or equal to 100")
        self.post(f"/admin/flags/flag/{flag.pk}/delete/", post="yes")
        self.assertIs(self.enabled(43), False)
        self.assertEqual(ask("SELECT count(*) FROM feature_flag_user"), 0)

    def test_schedule(self):
        """a schedule and a ramp, and what is no such thing: an error in the form"""
        flag = Flag.objects.create(name="new_checkout", enabled=True)
        change = f"/admin/flags/flag/{flag.pk}/change/"

        def page(**moments):
            fields = {"name": "new_checkout", "enabled": "on", "rollout_percentage": "0"}
            for name, moment in moments.items():
                fields[f"{name}_0"], fields[f"{name}_1"] = moment.split(" ")
            return fields

        self.post(change, **page(ends_at="2001-01-01 00:00"))
        self.assertEqual(ask("SELECT rule FROM fflag_explain('new_checkout', 42)"), "ended")
        self.post(change, **page(starts_at="2999-01-01 00:00"))
        self.assertEqual(ask("SELECT rule FROM fflag_explain('new_checkout', 42)"), "not_started")
        ramp = page(ramp_starts_at="2001-01-01 00:00", ramp_ends_at="2001-01-02 00:00")
        self.post(change, **ramp, ramp_to="100")
        self.assertIs(self.enabled(42), True)
        for fields, error in (
            (page(starts_at="2001-01-02 00:00", ends_at="2001-01-02 00:00"), "would end before it starts"),
            (ramp, "needs a percentage, a start and an end"),
            (page() | {"ramp_to": "50"}, "needs a percentage, a start and an end"),
            (page(ramp_starts_at="2001-01-02 00:00", ramp_ends_at="2001-01-01 00:00") | {"ramp_to": "0"},
             "The ramp would end before it starts"),
            (ramp | {"ramp_to": "101"}, "less than or equal to 100"),
        ):
            with self.subTest(error=error):
                self.assertContains(self.client.post(change, inline() | fields), error)
        with connection.cursor() as cursor:
            cursor.execute("SELECT fflag_rollout('new_checkout', 0), fflag_schedule('new_checkout', NULL, NULL)")
        flag.refresh_from_db()
        self.assertEqual({flag.starts_at, flag.ends_at, flag.ramp_to, flag.ramp_starts_at, flag.ramp_ends_at}, {None})

    def test_relations(self):
        """relations of each kind, to an older flag and to a younger one"""
        payments, wallet, testers = (Flag.objects.create(name=name, enabled=True, rollout_percentage=100)
                                     for name in ("payments", "wallet", "testers"))
        wallet.variants.create(name="dark")
        change = f"/admin/flags/flag/{wallet.pk}/change/"
        page = {"name": "wallet", "enabled": "on", "rollout_percentage": "100"}
        page |= {name: value for name, value in inline(wallet, ("dark", "1", None)).items() if name.startswith("variants")}

        def explain(columns="enabled, rule, because"):
            return ask(f"SELECT ({columns})::text FROM fflag_explain('wallet', 42)")

        self.post(change, **page | related(wallet, ("requires", payments, "", "")))
        self.assertEqual(explain(), "(t,full_rollout,)")
        Flag.objects.filter(pk=payments.pk).update(enabled=False)
        self.assertEqual(explain(), "(f,prerequisite,payments)")
        self.post(change, **page | related(wallet, ("excludes", payments, "", ""), ("includes", testers, "", "dark")))
        self.assertEqual(explain("rule, variant"), "(full_rollout,dark)")
        self.assertEqual(ask("SELECT array_agg(other_variant) FROM feature_flag_relation"), [None, None])
        page |= {"rollout_percentage": "0"}
        self.post(change, **page | related(wallet, ("excludes", payments, "", ""), ("includes", testers, "", "")))
        self.assertEqual(explain(), "(t,included,testers)")
        Flag.objects.filter(pk=payments.pk).update(enabled=True)
        self.assertEqual(explain(), "(f,excluded,payments)")
        self.assertContains(self.client.get(change), "wallet excludes payments")
        self.assertContains(self.client.get(change), "<td>relation created</td>")
        self.post(change, **page | related(wallet, ("excludes", payments, "", "", "DELETE"), ("includes", testers, "", "")))
        self.assertEqual(str(Relation.objects.get()), "wallet includes testers")

        payments.variants.create(name="card")
        self.post(change, **page | related(wallet, ("requires", payments, "card", ""), ("includes", testers, "", "")))
        for relation, error in (
            (("requires", wallet, "", ""), "A flag cannot depend on itself"),
            (("requires", payments, "card", "dark"), "Only a flag that is also for others can pin"),
            (("requires", payments, "cash", ""), "The other flag has no such variant"),
        ):
            with self.subTest(error=error):
                self.assertContains(self.client.post(change, page | related(wallet, relation)), error)
        self.refused(change, "feature_flag_relation_pin_fkey", **page | related(wallet, ("includes", testers, "", "bright")))
        self.refused(change, "relations of two kinds", **page | related(wallet, ("excludes", payments, "", "")))
        self.refused(f"/admin/flags/flag/{payments.pk}/change/", 'flag "payments" would depend on itself',
                     name="payments", enabled="on", rollout_percentage="100",
                     **related(payments, ("includes", wallet, "", "")))
        self.refused(f"/admin/flags/flag/{payments.pk}/change/", 'variant "card" of flag "payments" is needed',
                     name="payments", enabled="on", rollout_percentage="100",
                     **inline(payments, ("card", "1", None, "DELETE")))
        self.assertEqual(Relation.objects.count(), 2)

    def test_internal(self):
        """a flag that fflag_flags leaves out"""
        self.post("/admin/flags/flag/add/", name="group", enabled="on", rollout_percentage="0", internal="on")
        Flag.objects.create(name="f")
        self.assertEqual(ask("SELECT array_agg(name) FROM fflag_flags(1)"), ["f"])
        response = self.client.get("/admin/flags/flag/?internal__exact=1")
        self.assertEqual([flag.name for flag in response.context["cl"].queryset], ["group"])

    def test_needed(self):
        """a flag that another one depends on is not deleted alone"""
        payments, wallet, other = (Flag.objects.create(name=name) for name in ("payments", "wallet", "other"))
        wallet.relations.create(kind="requires", other=payments)
        with self.assertRaises(RestrictedError):
            payments.delete()
        for url, fields in (
            (f"/admin/flags/flag/{payments.pk}/delete/", {}),
            ("/admin/flags/flag/", {"action": "delete_selected", "_selected_action": [payments.pk]}),
        ):
            for response in (self.client.post(url, fields), self.client.post(url, fields | {"post": "yes"})):
                self.assertContains(response, "would require deleting the following protected related objects")
        # as if another session had come in between: Django knows of no flag that depends on this one
        with patch.object(Relation._meta.get_field("other").remote_field, "on_delete", DO_NOTHING):
            self.refused(f"/admin/flags/flag/{payments.pk}/delete/",
                         'flag "payments" is needed: flag "wallet" requires it', post="yes")
        self.assertEqual(Flag.objects.count(), 3)
        self.post("/admin/flags/flag/", action="delete_selected", _selected_action=[payments.pk, wallet.pk], post="yes")
        self.assertEqual(Flag.objects.get(), other)
        self.assertFalse(Relation.objects.exists())

    def test_chain(self):
        """all flags of a long chain are deleted at once"""
        flags = [Flag.objects.create(name=f"f{number}") for number in range(250)]
        Relation.objects.bulk_create(Relation(flag=flag, kind="requires", other=other) for flag, other in zip(flags, flags[1:]))
        Flag.objects.all().delete()
        self.assertFalse(Flag.objects.exists())

    def test_variants(self):
        """variants with weights and payloads; those of other flags stay as they are"""
        other = Flag.objects.create(name="other")
        other.variants.create(name="red", weight=7)
        page = {"name": "button", "enabled": "on", "rollout_percentage": "100"}
        self.post("/admin/flags/flag/add/", **page, **inline(None, ("red", "1", None), ("blue", "0.5", {"color": "#00c"})))
        flag = Flag.objects.get(name="button")
        change = f"/admin/flags/flag/{flag.pk}/change/"

        def rows():
            return [(v.name, v.weight, v.payload) for v in flag.variants.order_by("name")]

        self.assertEqual(rows(), [("blue", Decimal("0.5"), {"color": "#00c"}), ("red", 1, None)])
        self.assertEqual({ask("SELECT fflag_variant('button', %s)", n) for n in range(100)}, {"red", "blue"})
        self.assertEqual(ask("SELECT count(*) FROM feature_flag_variant WHERE payload IS NULL"), 2)

        self.post(change, **page, **inline(flag, ("red", "1", {"size": 2}), ("blue", "0.5", {"color": "#00c"}, "DELETE"), ("a b", "3", None)))
        self.assertEqual(rows(), [("a b", 3, None), ("red", 1, {"size": 2})])
        fields = inline(flag, ("red", "2.5", {"size": 2}), ("a b", "3", None))
        self.post(change, **page, **{name: "green" if value == "red" else value for name, value in fields.items()})
        self.assertEqual(rows(), [("a b", 3, None), ("green", Decimal("2.5"), {"size": 2})])
        self.post(change, **page, **inline(flag, ("green", "0", {"size": 2}), ("a b", "3", None)))
        self.assertEqual(rows(), [("a b", 3, None), ("green", 0, {"size": 2})])
        self.assertEqual({ask("SELECT fflag_variant('button', %s)", n) for n in range(100)}, {"a b"})
        self.post(change, **page, **inline(flag, ("green", "0", {"size": 2}, "DELETE"), ("a b", "3", None)))
        self.assertEqual(ask("SELECT fflag_variant('button', 1)"), "a b")

        for variants, error in (
            ([("red", "-0.000001", None)], "greater than or equal to 0"),
            ([("red", "1000000001", None)], "less than or equal to 1000000000"),
            ([("red", "0.0000001", None)], "no more than 6 decimal places"),
            ([("", "2", None)], "This field is required"),
            ([("red", "1", None), ("red", "2", None)], "Please correct the duplicate"),
        ):
            with self.subTest(error=error):
                self.assertContains(self.client.post(change, page | inline(flag, *variants)), error)
        self.refused(change, 'variant name "r\u200b" has an invisible character', **page, **inline(flag, ("r\u200b", "1", None)))
        self.assertEqual(rows(), [("a b", 3, None)])
        self.assertEqual([(v.name, v.weight) for v in other.variants.all()], [("red", 7)])
        other.variants.all().delete()
        self.assertEqual(Variant.objects.get().name, "a b")
        self.post(f"/admin/flags/flag/{flag.pk}/delete/", post="yes")
        self.assertFalse(Variant.objects.exists())

    def test_refused(self):
        """the database's errors are messages, and nothing is stored"""
        add, page = "/admin/flags/flag/add/", {"enabled": "on", "rollout_percentage": "0"}
        self.refused(add, 'flag name "f\u200b" has an invisible character', **page, name="f\u200b")
        self.refused(add, "HINT:  Put user ids of at most 2048 bytes on allowlists.", **page, name="f", allowlist="x" * 2049)
        self.refused(add, "too long for the denylist", **page, name="f", allowlist="y", denylist="x" * 2049)
        self.assertFalse(Flag.objects.exists())
        self.assertEqual(ask("SELECT count(*) FROM feature_flag_user"), 0)

    def test_querysets(self):
        """FlagVariant: a value, a condition, and counted"""
        User.objects.bulk_create(User(username=f"u{n}") for n in range(100))
        flag = Flag.objects.create(name="button", enabled=True, rollout_percentage=50)
        self.assertEqual(list(queries.users_by_button()), [{"button": None, "users": 101}])
        flag.variants.create(name="green", weight=Decimal("1.5"))
        flag.variants.create(name="blue")
        expected = {None: 0, "blue": 0, "green": 0}
        for user in queries.buttons():
            self.assertEqual(user.button, ask("SELECT coalesce(fflag_variant('button', %s), 'blue')", user.pk))
            expected[ask("SELECT fflag_variant('button', %s)", user.pk)] += 1
        self.assertNotIn(0, expected.values())
        self.assertEqual({row["button"]: row["users"] for row in queries.users_by_button()}, expected)
        green = FlagVariant("button", F("pk"))
        self.assertEqual(User.objects.alias(green=green).filter(green="green").count(), expected["green"])
        self.assertEqual(User.objects.filter(FlagEnabled("button", F("pk"))).count(), expected["blue"] + expected["green"])
        self.assertEqual(Flag.objects.annotate(variant=FlagVariant(F("name"), 7)).get().variant,
                         ask("SELECT fflag_variant('button', 7)"))

    def test_functions(self):
        """fflag's functions, with the middleware's actor"""
        request = RequestFactory().get("/")
        request.user = self.admin
        Middleware(lambda request: ask("SELECT fflag_register('f')"))(request)
        self.assertEqual(ask("SELECT array_agg(actor) FROM fflag_history('f')"), ["admin"])

    def test_models(self):
        """the database has the last word: percentages, names, updated_at"""
        flag = Flag.objects.create(name="f", rollout_percentage=Decimal("0.125"))
        flag.refresh_from_db()
        self.assertEqual(flag.rollout_percentage, Decimal("0.125"))
        for columns in ({"rollout_percentage": 101}, {"rollout_percentage": -1}, {"name": ""}):
            with self.assertRaises(DatabaseError), transaction.atomic():
                Flag.objects.filter(pk=flag.pk).update(**columns)
        flag.allowlist = ["1", "2"]
        self.assertEqual(flag.allowlist, ["1", "2"])
        flag.allowlist = []
        self.assertEqual(flag.allowlist, [])
        Flag.objects.create(name="g", enabled=True, rollout_percentage=100)
        self.assertIs(ask("SELECT fflag_enabled('g')"), True)
