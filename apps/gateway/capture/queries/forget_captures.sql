-- Deletes the texts whose time is over, of any tenant; how many.
-- gives: forgotten bigint
-- role: gateway
SELECT menhir.gateway_forget_captures() AS forgotten
