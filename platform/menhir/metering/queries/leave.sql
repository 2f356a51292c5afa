-- A process ends with nothing left to settle.
-- takes: id uuid
-- role: gateway
DELETE FROM metering_process WHERE id = $1::uuid
