-- Makes a registered table's partitions from yesterday to so many days ahead, where they are missing; how many were made.
-- takes: parent text, days_ahead integer
-- gives: made integer
SELECT menhir.ensure_day_partitions($1::text, $2::integer) AS made
