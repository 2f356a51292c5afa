-- Forget the browsers' sessions that have ended: Django itself leaves each of them where it is.
DELETE FROM django_session WHERE expire_date < clock_timestamp()
