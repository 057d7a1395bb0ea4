from uuid import uuid4

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    id = models.UUIDField(primary_key=True, default=uuid4)


class FeatureFlag(models.Model):
    """The package's table, with lists of the project's users."""

    name = models.CharField(max_length=150, unique=True)
    enabled = models.BooleanField()
    staff_only = models.BooleanField()
    rollout_percentage = models.PositiveSmallIntegerField()
    users = models.ManyToManyField(User, db_table="feature_flag_infra_featureflag_users", related_name="+")

    class Meta:
        managed = False
        db_table = "feature_flag_infra_featureflag"
