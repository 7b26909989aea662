-- Runs with 0.1.0 and newer.
-- Whether destinations have what they took, and the nightly reconciliation. A router of the version before neither
-- reads nor writes these columns.
ALTER TABLE destination_health
    ADD COLUMN verify            varchar(24)  NOT NULL DEFAULT 'none'  -- how the destination is asked for what it took
                                 CHECK (verify IN ('none', 'find', 'storage_commitment'));
ALTER TABLE routing_state
    ADD COLUMN verify_at         timestamptz,                          -- success: asked about not before; NULL: not
    ADD COLUMN verify_count      integer      NOT NULL DEFAULT 0,      -- times asked about since it was completed
    ADD COLUMN verify_reference  varchar(64),                          -- storage commitment's transaction under way
    ADD COLUMN verify_error      text;                                 -- why the destination gave no answer
CREATE INDEX idx_routing_state_verify ON routing_state (destination, verify_at) WHERE verify_at IS NOT NULL;
CREATE INDEX idx_routing_state_completed ON routing_state (destination, completed_at) WHERE status = 'success';

-- One row a night, whichever router does it.
CREATE TABLE reconciliation (
    night        date         PRIMARY KEY,                             -- of the router's host
    claimed_by   varchar(128) NOT NULL,
    claimed_at   timestamptz  NOT NULL DEFAULT now(),                  -- renewed while it goes on
    started_at   timestamptz  NOT NULL DEFAULT now(),
    finished_at  timestamptz,
    result       jsonb        NOT NULL DEFAULT '{}'
);
