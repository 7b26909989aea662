-- Runs with 0.1.0 and newer.
-- Who sends to a destination what Orthanc received: Orthanc itself by a job of its own, or the router directly. A
-- router of the version before neither reads nor writes this column, and has Orthanc send.
ALTER TABLE destination_health
    ADD COLUMN transport varchar(16) NOT NULL DEFAULT 'orthanc' CHECK (transport IN ('orthanc', 'direct'));
