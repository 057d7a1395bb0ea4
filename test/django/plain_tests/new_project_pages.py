"""test_new_project runs this in the project that docs/django.md makes."""
from asgiref.sync import async_to_sync, sync_to_async
from django.contrib.auth.models import User
from django.db import connection
from django.test import RequestFactory, TestCase, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from flags.ask import enabled
from flags.models import Flag

from . import views

urlpatterns = [path("checkout/", views.checkout), path("search/", views.search)]


@override_settings(ROOT_URLCONF=__name__)
class Pages(TestCase):
    def setUp(self):
        self.user = User.objects.create_user("ada")

    def get(self, url, bulk_queries):
        with CaptureQueriesContext(connection) as queries:
            response = self.client.get(url)
        self.assertEqual(sum("fflag_flags" in query["sql"] for query in queries), bulk_queries)
        return response

    def test_checkout(self):
        """the registered flag is off, and on for whom it lists; no query for flags that nobody looks at"""
        flag = Flag.objects.get(name="new_checkout")
        self.assertIs(flag.enabled, False)
        flag.enabled, flag.rollout_percentage, flag.allowlist = True, 0, [str(self.user.pk)]
        flag.save()
        self.assertContains(self.get("/checkout/", 0), "page 1 of 3")
        self.client.force_login(self.user)
        self.assertContains(self.get("/checkout/", 0), "all on one page")

        async def view(request):
            return await sync_to_async(lambda: enabled("new_checkout", request.user))()

        request = RequestFactory().get("/")
        request.user = self.user
        self.assertIs(async_to_sync(view)(request), True)

    def test_search(self):
        """a view and its template ask once; for a visitor, a user and staff"""
        Flag.objects.create(name="beta_search", staff_only=True)
        Flag.objects.create(name="long_lists", enabled=True).allowlist = [str(self.user.pk)]
        for staff, limit in (None, 20), (False, 100), (True, 100):
            if staff is not None:
                User.objects.update(is_staff=staff)
                self.client.force_login(self.user)
            response = self.get("/search/", 1)
            self.assertContains(response, f"At most {limit} results")
            self.assertEqual(b"new search" in response.content, bool(staff))

    def test_default(self):
        """a flag that does not exist"""
        self.assertIs(enabled("no such flag"), False)
        self.assertIs(enabled("no such flag", self.user, True), True)

    def test_history(self):
        """the admin shows who changed a flag"""
        self.client.force_login(User.objects.create_superuser("root"))
        with override_settings(ROOT_URLCONF="shop.urls"):
            page = f"/admin/flags/flag/{Flag.objects.get(name='new_checkout').pk}/change/"
            self.assertContains(self.client.get(page), "<td>flag created</td>")
