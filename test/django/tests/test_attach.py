"""Attached to Django's tables: every way to change a flag is seen by a session that is open; migrations."""
from contextlib import contextmanager

from django.db import DatabaseError, connection, migrations, models, transaction
from django.db.migrations.executor import MigrationExecutor
from django.db.migrations.migration import Migration
from django.test import TransactionTestCase
from feature_flag_infra.django.models import FeatureFlag

from .common import FLAGS, LISTS, OtherSession, User, ask, evaluate, make_flag, package


class Changes(TransactionTestCase):
    def test_seen_by_another_session(self):
        """save, bulk_update, update, users.add, remove, set, clear, delete: seen by the next statement elsewhere"""
        user, other_user = (User.objects.create(username=name) for name in "ab")
        with OtherSession() as other:

            def check(expected, what):
                with self.subTest(what):
                    self.assertIs(evaluate("f", user, using=other), expected)
                    self.assertIs(package("f", user), expected)

            check(False, "no flag")
            flag = make_flag(rollout_percentage=100)
            check(True, "create")
            flag.enabled = False
            flag.save()
            check(False, "save")
            flag.enabled = True
            FeatureFlag.objects.bulk_update([flag], ["enabled"])
            check(True, "bulk_update")
            FeatureFlag.objects.filter(name="f").update(rollout_percentage=0)
            check(False, "update")
            flag.users.add(user)
            check(True, "users.add")
            flag.users.remove(user)
            check(False, "users.remove")
            flag.users.set([user, other_user])
            check(True, "users.set")
            flag.users.set([other_user])
            check(False, "users.set without")
            flag.users.add(user)
            check(True, "users.add again")
            flag.users.clear()
            check(False, "users.clear")
            user.feature_flags.add(flag)
            check(True, "from the user's side")
            user.feature_flags.clear()
            check(False, "and back")
            FeatureFlag.objects.update_or_create(name="f", defaults={"rollout_percentage": 100})
            check(True, "update_or_create")
            flag.delete()
            check(False, "delete")
            FeatureFlag.objects.bulk_create([FeatureFlag(name="f", enabled=True, rollout_percentage=100)])
            check(True, "bulk_create")
            FeatureFlag.objects.all().delete()
            check(False, "delete of a queryset")
            flag = make_flag()
            flag.users.add(user)
            check(True, "a new one, listed")
            FeatureFlag.objects.filter(name="f").update(name="g")
            check(False, "another name")

    def test_transactions(self):
        """not committed: seen here only; rolled back, or to a savepoint: as if it never was"""
        user = User.objects.create(username="a")
        flag = make_flag(rollout_percentage=100)
        with OtherSession() as other:
            self.assertIs(evaluate("f", user, using=other), True)
            try:
                with transaction.atomic():
                    FeatureFlag.objects.update(enabled=False)
                    self.assertIs(evaluate("f", user), False)
                    self.assertIs(evaluate("f", user, using=other), True)
                    try:
                        with transaction.atomic():
                            flag.delete()
                            FeatureFlag.objects.create(name="f", enabled=True, rollout_percentage=100)
                            self.assertIs(evaluate("f", user), True)
                            raise KeyError
                    except KeyError:
                        pass
                    self.assertIs(evaluate("f", user), False)
                    raise KeyError
            except KeyError:
                pass
            self.assertIs(evaluate("f", user), True)
            self.assertIs(evaluate("f", user, using=other), True)

    def test_refusal(self):
        """the functions that change flags refuse, and name the table that holds them"""
        make_flag()
        for call in (
            "fflag_register('x')",
            "fflag_register(ARRAY['x'])",
            "fflag_enable('f')",
            "fflag_disable('f')",
            "fflag_rollout('f', 50)",
            "fflag_allow('f', 1)",
            "fflag_disallow('f', 1)",
        ):
            with self.subTest(call):
                with self.assertRaises(DatabaseError) as caught:
                    ask(f"SELECT {call}")
                error = caught.exception.__cause__
                self.assertEqual(getattr(error, "sqlstate", None) or error.pgcode, "55000")
                self.assertIn(FLAGS, str(error))

    def test_attached_again(self):
        """a second fflag_attach of the same tables changes nothing; of others it is an error"""
        make_flag(rollout_percentage=100)
        ask(f"SELECT fflag_attach('{FLAGS}', '{LISTS}')")
        self.assertIs(evaluate("f", None), True)
        with self.assertRaisesMessage(DatabaseError, f"flags are already read from tables public.{FLAGS}"):
            ask("SELECT fflag_attach('auth_group', 'auth_user_groups')")


class Migrations(TransactionTestCase):
    """A migration of the attached tables, applied and undone while another session has them cached."""

    @contextmanager
    def applied(self, operation):
        migration = Migration("test", "feature_flag_infra")
        migration.operations = [operation]
        state = MigrationExecutor(connection).loader.project_state()
        with connection.schema_editor() as editor:
            migration.apply(state.clone(), editor)
        try:
            yield
        finally:
            with connection.schema_editor() as editor:
                migration.unapply(state, editor)

    def setUp(self):
        self.user = User.objects.create(username="a")
        make_flag(rollout_percentage=100)
        make_flag("list").users.add(self.user)

    def check(self, other):
        for using in (connection, other):
            self.assertIs(evaluate("f", self.user, using=using), True)
            self.assertIs(evaluate("list", self.user, using=using), True)
            self.assertIs(evaluate("no flag", self.user, using=using), False)

    def test_harmless(self):
        """columns added and dropped, rollout_percentage and name retyped, an index"""
        for operation in (
            migrations.AddField("featureflag", "owner", models.CharField(max_length=50, default="nobody")),
            migrations.RemoveField("featureflag", "description"),
            migrations.AlterField("featureflag", "rollout_percentage", models.IntegerField(default=0)),
            migrations.AlterField("featureflag", "rollout_percentage", models.BigIntegerField(default=0)),
            migrations.AlterField(
                "featureflag", "rollout_percentage", models.DecimalField(max_digits=6, decimal_places=3, default=0)
            ),
            migrations.AlterField("featureflag", "name", models.TextField(unique=True)),
            migrations.AddIndex("featureflag", models.Index(fields=["enabled"], name="enabled_idx")),
            migrations.RenameField("featureflag", "created_at", "made_at"),
            migrations.AlterModelTable("featureflag", "flags"),
        ):
            with self.subTest(operation.describe()), OtherSession() as other:
                self.check(other)
                with self.applied(operation):
                    self.check(other)
                    # announced as before
                    table = ask("SELECT flags_oid::regclass::text FROM feature_flag_attachment")
                    for enabled in (False, True):
                        ask(f"UPDATE {table} SET enabled = %s WHERE name = 'f' RETURNING 1", enabled)
                        self.assertIs(evaluate("f", self.user, using=other), enabled)
                self.check(other)

    def test_harmful(self):
        """a column renamed or retyped: an error that names it, until it is undone"""
        for operation in (
            migrations.RenameField("featureflag", "rollout_percentage", "percentage"),
            migrations.RenameField("featureflag", "staff_only", "internal"),
            migrations.RenameField("featureflag", "name", "key"),
            migrations.RenameField("featureflag", "enabled", "active"),
        ):
            with self.subTest(operation.describe()), OtherSession() as other:
                self.check(other)
                with self.applied(operation):
                    for using in (connection, other):
                        with self.assertRaisesMessage(DatabaseError, f'"{operation.old_name}"'):
                            evaluate("f", self.user, using=using)
                    # attached anew under the new name, and back
                    ask("SELECT fflag_detach()")
                    ask(f"SELECT fflag_attach('{FLAGS}', '{LISTS}', {operation.old_name} => '{operation.new_name}')")
                    self.check(other)
                ask("SELECT fflag_detach()")
                ask(f"SELECT fflag_attach('{FLAGS}', '{LISTS}')")
                self.check(other)

    def test_reverse(self):
        """the project's migration undone and done again, while another session is open"""
        with OtherSession() as other:
            self.check(other)
            executor = MigrationExecutor(connection)
            executor.migrate([("shop", "0001_initial")])
            with self.assertRaisesMessage(DatabaseError, "fflag_enabled"):
                evaluate("f", self.user, using=other)
            self.assertEqual(ask("SELECT count(*) FROM pg_trigger WHERE tgname LIKE 'fflag%%'"), 0)
            MigrationExecutor(connection).migrate([("shop", "0002_fflag")])
            self.check(other)
