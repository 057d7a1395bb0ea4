"""feature-flag-infra brings no admin of its own."""
from django.contrib import admin
from feature_flag_infra.django.models import FeatureFlag


@admin.register(FeatureFlag)
class FeatureFlagAdmin(admin.ModelAdmin):
    list_display = ["name", "enabled", "staff_only", "rollout_percentage"]
    list_filter = ["enabled", "staff_only"]
    search_fields = ["name", "description"]
    autocomplete_fields = ["users"]
