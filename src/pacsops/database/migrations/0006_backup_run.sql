-- Runs with 0.1.0 and newer.
-- Each backup, verification of one, and restore that was begun on any host of the site.
CREATE TABLE backup_run (
    id           bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind         varchar(16)  NOT NULL CHECK (kind IN ('backup', 'verify', 'restore')),
    started_at   timestamptz  NOT NULL DEFAULT now(),
    finished_at  timestamptz,                                     -- NULL: under way, or killed
    ok           boolean,                                         -- NULL until finished
    detail       jsonb        NOT NULL DEFAULT '{}',              -- backup_id, host, parts, seconds, error, figures
    CHECK ((finished_at IS NULL) = (ok IS NULL))
);
CREATE INDEX idx_backup_run_kind ON backup_run (kind, started_at);
