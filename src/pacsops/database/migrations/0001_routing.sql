-- What the router knows of every study, every promised delivery and every destination.
-- Read it as the one truth: nothing about a delivery lives anywhere else.

CREATE TABLE routing_study (
    source             varchar(32)  NOT NULL DEFAULT 'orthanc',   -- who holds the study: orthanc, gateway
    study_id           varchar(64)  NOT NULL,                     -- Orthanc's identifier
    study_uid          varchar(128),
    accession_number   varchar(64),
    patient_name       varchar(256),
    patient_id         varchar(128),
    study_description  varchar(256),
    study_date         date,
    sender_aet         varchar(64),                               -- AE title the first instance came from
    instance_count     integer      NOT NULL DEFAULT 0,
    first_seen_at      timestamptz  NOT NULL DEFAULT now(),
    arrived_at         timestamptz  NOT NULL DEFAULT now(),       -- when the newest instance was noticed
    arrival_seq        bigint       NOT NULL DEFAULT 0,           -- newest change row that touched the study
    evaluated_seq      bigint       NOT NULL DEFAULT -1,          -- arrival_seq that the last evaluation covered
    evaluated_at       timestamptz,
    last_update        varchar(32),                               -- Orthanc's LastUpdate when evaluated
    route_version      varchar(64),                               -- hash of the routes.yml that decided
    matched_routes     text[]       NOT NULL DEFAULT '{}',
    look_again_at      timestamptz  NOT NULL DEFAULT now(),       -- unsettled: not before
    trouble            text,                                      -- why it cannot be evaluated
    deleted_at         timestamptz,                               -- Orthanc no longer holds it
    PRIMARY KEY (source, study_id)
);
CREATE INDEX idx_routing_study_uid ON routing_study (study_uid);
CREATE INDEX idx_routing_study_accession ON routing_study (accession_number);
CREATE INDEX idx_routing_study_seen ON routing_study (first_seen_at);
CREATE INDEX idx_routing_study_unsettled ON routing_study (look_again_at)
    WHERE evaluated_seq < arrival_seq AND deleted_at IS NULL;

CREATE TABLE routing_state (
    id                   bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,

    -- the key: what, by which route, to whom
    source               varchar(32)  NOT NULL DEFAULT 'orthanc',
    level                varchar(16)  NOT NULL CHECK (level IN ('study', 'series', 'instance')),
    resource_id          varchar(64)  NOT NULL,
    route_name           varchar(128) NOT NULL,
    destination          varchar(64)  NOT NULL,

    -- the study, for people
    study_id             varchar(64)  NOT NULL,
    study_uid            varchar(128),
    patient_name         varchar(256),
    patient_id           varchar(128),
    study_description    varchar(256),
    study_date           date,

    -- what is to be sent, and what has been
    instances            text[]       NOT NULL,                   -- wanted: grows with the study
    delivered_instances  text[]       NOT NULL DEFAULT '{}',
    attempt_instances    text[]       NOT NULL DEFAULT '{}',      -- on their way now
    content_fingerprint  varchar(64)  NOT NULL,                   -- of `instances`
    route_version        varchar(64)  NOT NULL,
    priority             integer      NOT NULL DEFAULT 100,

    status               varchar(20)  NOT NULL DEFAULT 'pending' CHECK (status IN
        ('pending', 'sending', 'sent', 'success', 'failed', 'stuck', 'skipped', 'cancelled')),
    job_id               varchar(64),
    job_status           varchar(20),

    -- retry, as the route said when the delivery was planned
    attempt_count        integer      NOT NULL DEFAULT 0,
    max_attempts         integer      NOT NULL DEFAULT 3,
    backoff              varchar(16)  NOT NULL DEFAULT 'exponential',
    initial_delay        real         NOT NULL DEFAULT 60,        -- seconds
    next_retry_at        timestamptz  DEFAULT now(),              -- pending, failed: not before; else NULL
    attempt_started_at   timestamptz,                             -- when it was last claimed
    interruptions        integer      NOT NULL DEFAULT 0,         -- jobs lost since the last success or order

    last_error           text,
    last_error_class     varchar(32),
    last_error_at        timestamptz,
    first_failed_at      timestamptz,                             -- first failure since it last made progress

    -- the claim: every later write is fenced by the token
    claim_token          uuid,
    claimed_by           varchar(128),
    lease_until          timestamptz,

    created_at           timestamptz  NOT NULL DEFAULT now(),
    open_since           timestamptz  NOT NULL DEFAULT now(),     -- planned, grown after success, or taken up again
    updated_at           timestamptz  NOT NULL DEFAULT now(),
    completed_at         timestamptz,
    verified_at          timestamptz,                             -- the destination was asked and has them all

    UNIQUE (source, level, resource_id, route_name, destination),
    CHECK ((status IN ('sending', 'sent')) = (claim_token IS NOT NULL)),
    CHECK ((status IN ('pending', 'failed')) = (next_retry_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX idx_routing_state_study ON routing_state (study_id);
CREATE INDEX idx_routing_state_claimable ON routing_state (destination, priority, next_retry_at, id)
    WHERE status IN ('pending', 'failed');
CREATE INDEX idx_routing_state_in_flight ON routing_state (destination) WHERE status IN ('sending', 'sent');
CREATE INDEX idx_routing_state_stuck ON routing_state (destination) WHERE status = 'stuck';
CREATE INDEX idx_routing_state_updated ON routing_state (updated_at);

-- Append-only timeline: what `orthanc history` prints.
CREATE TABLE routing_event (
    id           bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at           timestamptz  NOT NULL DEFAULT clock_timestamp(),
    event        varchar(32)  NOT NULL,
    source       varchar(32)  NOT NULL DEFAULT 'orthanc',
    study_id     varchar(64),
    delivery_id  bigint       REFERENCES routing_state (id),
    route_name   varchar(128),
    destination  varchar(64),
    attempt      integer,
    detail       jsonb        NOT NULL DEFAULT '{}'
);
CREATE INDEX idx_routing_event_study ON routing_event (study_id, id);
CREATE INDEX idx_routing_event_at ON routing_event USING brin (at);

CREATE TABLE destination_health (
    destination           varchar(64)  PRIMARY KEY,
    max_concurrency       smallint     NOT NULL DEFAULT 2 CHECK (max_concurrency > 0),
    breaker               varchar(16)  NOT NULL DEFAULT 'closed' CHECK (breaker IN ('closed', 'open', 'draining')),
    consecutive_failures  integer      NOT NULL DEFAULT 0,
    opened_at             timestamptz,
    open_reason           text,
    open_count            integer      NOT NULL DEFAULT 0,        -- times opened since the last success
    next_probe_at         timestamptz,
    drained               integer      NOT NULL DEFAULT 0,        -- successes since it began to drain
    last_claimed_at       timestamptz,
    last_success_at       timestamptz,
    last_failure_at       timestamptz,
    last_error            text,
    last_echo_at          timestamptz,
    last_echo_ms          integer,                                -- NULL: the last C-ECHO failed
    CHECK ((breaker = 'open') = (next_probe_at IS NOT NULL))
);

-- Each routes.yml ever loaded, accepted or not.
CREATE TABLE routes_version (
    id           bigint       GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    hash         varchar(64)  NOT NULL,                           -- SHA-256 of the text
    text         text         NOT NULL,
    loaded_at    timestamptz  NOT NULL DEFAULT now(),
    accepted     boolean      NOT NULL,
    problems     jsonb        NOT NULL DEFAULT '[]'               -- why not, or what to mind
);

-- How far a source's log of changes has been read; moves only together with what was planned from it.
CREATE TABLE feed_cursor (
    source       varchar(32)  PRIMARY KEY,
    seq          bigint       NOT NULL,
    last_row     jsonb,                                           -- the row at `seq`: a restored database differs there
    routes_from  timestamptz  NOT NULL DEFAULT now(),             -- what was not touched since is not routed by itself
    scanned_at   timestamptz,                                     -- last complete reconciliation scan
    updated_at   timestamptz  NOT NULL DEFAULT now()
);

-- The router's sign of life.
CREATE TABLE router_heartbeat (
    instance     varchar(128) PRIMARY KEY,                        -- host:pid:random
    started_at   timestamptz  NOT NULL DEFAULT now(),
    beat_at      timestamptz  NOT NULL DEFAULT now(),
    detail       jsonb        NOT NULL DEFAULT '{}'
);
