-- How many jobs of each queue wait or are being worked on.
-- gives: queue text, status text, jobs bigint
SELECT queue_name::text AS queue, status::text AS status, count(*) AS jobs FROM procrastinate_jobs WHERE status IN ('todo', 'doing') GROUP BY 1, 2
