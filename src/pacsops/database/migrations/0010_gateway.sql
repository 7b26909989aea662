-- Runs with 0.1.0 and newer.
-- What the gateway received. Its studies are rows of routing_study with source 'gateway', known by their
-- StudyInstanceUID; its promises are rows of routing_state, whose `instances` are ids of this table as text.
CREATE TABLE gateway_series (
    series_uid         varchar(64)  NOT NULL,
    study_uid          varchar(64)  NOT NULL,
    modality           varchar(16),
    series_description varchar(256),
    instance_count     integer      NOT NULL DEFAULT 0,
    first_received_at  timestamptz  NOT NULL DEFAULT now(),
    last_received_at   timestamptz  NOT NULL DEFAULT now(),
    evaluated_at       timestamptz,                          -- when routes that wait for all of it were asked; NULL: anew
    PRIMARY KEY (study_uid, series_uid)                      -- peers that give two studies one series UID exist
);
CREATE INDEX idx_gateway_series_unsettled ON gateway_series (last_received_at) WHERE evaluated_at IS NULL;

CREATE TABLE gateway_instance (
    id                  bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_uid           varchar(64)  NOT NULL,
    series_uid          varchar(64)  NOT NULL,
    sop_instance_uid    varchar(64)  NOT NULL,
    sop_class_uid       varchar(64)  NOT NULL,
    transfer_syntax_uid varchar(64)  NOT NULL,
    file                text         NOT NULL,               -- below the spool: <StudyInstanceUID>/<SOPInstanceUID>.dcm
    size                bigint       NOT NULL,               -- bytes of the file
    sender_aet          varchar(16),
    received_at         timestamptz  NOT NULL,               -- when its file was complete
    recorded_at         timestamptz  NOT NULL DEFAULT now(),
    tags                jsonb        NOT NULL,               -- DICOM keyword → value: what routes may look at
    duplicate_of        bigint       REFERENCES gateway_instance (id),  -- same UID, other bytes: both are kept
    result_of           varchar(64),                         -- the study this AI result belongs to
    missing_since       timestamptz,                         -- its file is gone, and pacsops did not remove it
    removed_at          timestamptz                          -- its file was removed after all was delivered
);
-- What was removed may be received once more.
CREATE UNIQUE INDEX idx_gateway_instance_file ON gateway_instance (file) WHERE removed_at IS NULL;
CREATE INDEX idx_gateway_instance_study ON gateway_instance (study_uid, id);
CREATE INDEX idx_gateway_instance_sop ON gateway_instance (sop_instance_uid);
CREATE INDEX idx_gateway_instance_missing ON gateway_instance (study_uid) WHERE missing_since IS NOT NULL;

-- Files in the spool that are no instance anybody could route: left where they are.
CREATE TABLE gateway_unreadable (
    file         text         PRIMARY KEY,
    study_uid    varchar(64)  NOT NULL,
    reason       text         NOT NULL,
    found_at     timestamptz  NOT NULL DEFAULT now()
);
CREATE INDEX idx_gateway_unreadable_study ON gateway_unreadable (study_uid);
CREATE INDEX idx_routing_study_trouble ON routing_study (arrived_at) WHERE trouble IS NOT NULL;

-- The sign of life of each of the gateway's processes.
CREATE TABLE gateway_heartbeat (
    instance     varchar(128) PRIMARY KEY,                   -- host:pid:random
    started_at   timestamptz  NOT NULL DEFAULT now(),
    beat_at      timestamptz  NOT NULL DEFAULT now(),
    detail       jsonb        NOT NULL DEFAULT '{}'
);

-- Which worker of a pool has a study, and had it before: one row a worker that was given it, the newest one holds.
CREATE TABLE gateway_assignment (
    id           bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    study_uid    varchar(64)  NOT NULL,
    pool         varchar(64)  NOT NULL,
    turn         integer      NOT NULL,                      -- 1: the first worker the study was given to
    member       varchar(64)  NOT NULL,
    routes       text[]       NOT NULL DEFAULT '{}',         -- whose deliveries to the worker are the pool's
    assigned_at  timestamptz  NOT NULL DEFAULT now(),
    expired_at   timestamptz,                                -- the worker's time ran out
    result_at    timestamptz,                                -- its first result was received
    UNIQUE (study_uid, pool, turn),
    UNIQUE (study_uid, pool, member)
);
CREATE INDEX idx_gateway_assignment_member ON gateway_assignment (pool, member, id);
CREATE INDEX idx_gateway_assignment_open ON gateway_assignment (assigned_at) WHERE result_at IS NULL;
CREATE INDEX idx_gateway_instance_result ON gateway_instance (result_of) WHERE result_of IS NOT NULL;

-- Numbers of simulated studies.
CREATE SEQUENCE gateway_study_number;
