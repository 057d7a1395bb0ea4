from django.conf import settings
from django.db import models
from uuid import uuid4


class Order(models.Model):
    customer = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    total = models.DecimalField(max_digits=8, decimal_places=2)


class Visitor(models.Model):
    """Somebody who is known by a UUID."""

    id = models.UUIDField(primary_key=True, default=uuid4)
    is_staff = models.BooleanField(default=False)
