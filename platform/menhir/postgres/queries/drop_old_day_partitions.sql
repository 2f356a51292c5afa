-- Drops a registered table's partitions of days that need no longer be kept; how many were dropped.
-- takes: parent text
-- gives: dropped integer
SELECT menhir.drop_old_day_partitions($1::text) AS dropped
