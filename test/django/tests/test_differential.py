"""The package's provider, with an empty cache, and SQL agree on random questions.

FFLAG_DJANGO_QUESTIONS of them; FFLAG_DJANGO_SEED repeats the choices.
"""
import os
import random
import sys
import warnings
from unittest import mock

from django.core.cache import CacheKeyWarning, cache
from django.db import connection
from django.test import TestCase, tag
from feature_flag_infra.django import providers
from feature_flag_infra.django.models import FeatureFlag
from feature_flag_infra.rollout import is_user_in_rollout

from .common import FLAGS, LISTS, User, uuid_users

QUESTIONS = int(os.environ.get("FFLAG_DJANGO_QUESTIONS", 10_000))
SEED = int(os.environ.get("FFLAG_DJANGO_SEED", random.randrange(1 << 32)))
# Latin, Greek, Cyrillic, Hebrew, Arabic, Devanagari, Thai, Hangul, Kana, Han, emoji, and
# what is special to somebody: quotes, percent, backslash, colon, space, combining accents
ALPHABETS = [
    "abcdefghijklmnopqrstuvwxyz_0123456789", "αβγδεζηθ", "абвгдежз", "אבגדה", "ابتثج", "अआइईउ", "กขคงจ",
    "가나다라마", "あいうえおカキク", "漢字旗幟", "😀🚀🏳️‍🌈", "'\"%\\:; \t\n{}$1?", "e\u0301a\u0308\u200d\ufeff\u00a0",
]


@tag("once")
class Differential(TestCase):
    def setUp(self):
        self.random = random.Random(SEED)
        self.provider = providers.DjangoDBFlagProvider()
        self.enterContext(warnings.catch_warnings())
        warnings.simplefilter("ignore", CacheKeyWarning)  # names that memcached would not take
        if uuid_users:
            # the package's model names auth.User; its provider gets one that names the project's
            from accounts.models import FeatureFlag as listing

            patch = mock.patch.object(providers, "FeatureFlag", listing)
            patch.start()
            self.addCleanup(patch.stop)

    def name(self):
        pick = self.random
        letters = pick.choice(ALPHABETS) if pick.random() < 0.7 else "".join(ALPHABETS)
        return "".join(pick.choice(letters) for _ in range(pick.choice([1, 2, 10, 149, 150, pick.randint(1, 150)])))

    def make_users(self, count):
        users = [User(username=f"u{i}", is_staff=self.random.random() < 0.2) for i in range(count)]
        if not uuid_users:
            ids = {0, 1, 2, 9, 10, 99, 100, 32767, 32768, 2147483647, *self.random.sample(range(3, 2147483647), count)}
            for user, user_id in zip(users, self.random.sample(sorted(ids), count)):
                user.pk = user_id
        return User.objects.bulk_create(users)

    def make_flags(self, count, users):
        """Other flags, instead of those of before."""
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {LISTS}")
            cursor.execute(f"DELETE FROM {FLAGS}")
        pick = self.random
        percentages = [0, 1, 50, 99, 100]
        flags = FeatureFlag.objects.bulk_create(
            FeatureFlag(
                name=name,
                enabled=pick.random() < 0.85,
                staff_only=pick.random() < 0.1,
                rollout_percentage=pick.choice([*percentages, pick.randint(0, 100), pick.randint(0, 100)]),
            )
            for name in dict.fromkeys(self.name() for _ in range(count))
        )
        with connection.cursor() as cursor:
            for flag in flags:
                for user in pick.sample(users, pick.choice([0, 0, 1, 5, len(users) // 4])):
                    cursor.execute(f"INSERT INTO {LISTS} (featureflag_id, user_id) VALUES (%s, %s)", [flag.pk, user.pk])
        return flags

    def test_agree(self):
        print(f"{QUESTIONS} questions, seed {SEED}", file=sys.stderr)
        users = self.make_users(100)
        # the SQL side in one statement for each flag
        query = f"""SELECT id, fflag_enabled(%s, id, is_staff), fflag_bucket(%s, id) / 1000
                    FROM {User._meta.db_table} ORDER BY id"""
        asked = on = 0
        while asked < QUESTIONS:
            for flag in self.make_flags(50, users):
                with connection.cursor() as cursor:
                    cursor.execute(query, [flag.name, flag.name])
                    answers = {user_id: (enabled, bucket) for user_id, enabled, bucket in cursor}
                for user in self.random.sample(users, 50):
                    enabled, bucket = answers[user.pk]
                    cache.clear()
                    expected = self.provider.is_enabled(flag.name, user=user)
                    if enabled is not expected:
                        self.fail(f"seed {SEED}: {vars(flag)}, user {user.pk}, staff {user.is_staff}: fflag says {enabled}")
                    for percentage in (flag.rollout_percentage, bucket, bucket + 1):
                        if is_user_in_rollout(flag.name, user, percentage) != (bucket < percentage):
                            self.fail(f"seed {SEED}: {flag.name!r}, user {user.pk}: bucket {bucket}")
                    asked += 1
                    on += enabled
        self.assertGreater(on, asked // 10)
        self.assertLess(on, asked - asked // 10)
