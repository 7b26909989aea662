-- Runs with 0.1.0 and newer.
-- Whether destinations have what the gateway sent them. A release of before neither reads nor writes these columns: it
-- asks about what Orthanc sent, as `verify` says.
ALTER TABLE destination_health
    ADD COLUMN gateway_verify varchar(24) NOT NULL DEFAULT 'none'      -- how the gateway asks it for what it took
                              CHECK (gateway_verify IN ('none', 'find')),
    ADD COLUMN told_at        timestamptz;                             -- when it first told of an image it was asked for
ALTER TABLE routing_state
    ADD COLUMN lack_count     integer     NOT NULL DEFAULT 0;          -- times images were found lacking since it was
                                                                       -- verified, grew, or was retried by an operator
CREATE INDEX idx_routing_state_unverified ON routing_state (destination)
    WHERE status = 'success' AND verify_error IS NOT NULL;
