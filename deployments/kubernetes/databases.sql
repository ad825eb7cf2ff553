-- Prefect's own database, beside that of the feature store. PostgreSQL runs this once, when its volume is empty.
CREATE DATABASE prefect;
