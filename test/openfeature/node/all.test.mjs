// Makes the extension, and runs the tests one after the other: they stop the server, and have flags of the same names.
import { after, before } from 'node:test';
import { sql } from './common.mjs';

before(() => sql('CREATE EXTENSION IF NOT EXISTS fflag'));
after(() => sql('TRUNCATE feature_flag CASCADE'));

await import('./values.mjs');
await import('./batches.mjs');
await import('./outages.mjs');
