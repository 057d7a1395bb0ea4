// Makes a database of its own, and runs the tests one after the other: some stop the server.
import { before } from 'node:test';
import { sql } from './common.mjs';

before(async () => {
  await sql('DROP DATABASE IF EXISTS openfeature_node');
  await sql("CREATE DATABASE openfeature_node ENCODING 'UTF8' TEMPLATE template0");
  process.env.PGDATABASE = 'openfeature_node'; // for this process and its children
  await sql('CREATE EXTENSION fflag');
});

await import('./values.mjs');
await import('./batches.mjs');
await import('./events.mjs');
await import('./outages.mjs');
