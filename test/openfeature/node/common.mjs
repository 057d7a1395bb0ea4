// What the tests of the Node provider share.  PGHOST and so on say where the server is; PGUSER is
// a superuser.
import { OpenFeature } from '@openfeature/server-sdk';
import { FflagProvider } from '@fflag/openfeature-provider';
import pg from 'pg';

/** Runs SQL in a session of its own, and returns the rows of the last statement. */
export async function sql(text, values) {
  const client = new pg.Client();
  client.on('error', () => {}); // the server may stop
  await client.connect();
  try {
    const result = await client.query(text, values);
    return [result].flat().at(-1).rows;
  } finally {
    await client.end();
  }
}

/** Gives the database these flags and no others: by name, an object for feature_flag and `variants`. */
export async function flags(wanted) {
  await sql('TRUNCATE feature_flag CASCADE');
  for (const [name, { variants, ...columns }] of Object.entries(wanted)) {
    const keys = ['name', ...Object.keys(columns)];
    await sql(`INSERT INTO feature_flag (${keys}) VALUES (${keys.map((_, i) => `$${i + 1}`)})`, [name, ...Object.values(columns)]);
    if (variants) await sql('SELECT fflag_variants($1, $2)', [name, variants]);
  }
}

export const on = { enabled: true, rollout_percentage: 100 };

let domains = 0;

/** A client of a provider with these options; the test closes it, and sees its events. */
export async function open(t, options) {
  const domain = `test ${++domains}`;
  const provider = new FflagProvider(options);
  const client = OpenFeature.getClient(domain);
  const events = [];
  for (const type of ['PROVIDER_READY', 'PROVIDER_ERROR', 'PROVIDER_CONFIGURATION_CHANGED']) {
    client.addHandler(type, ({ message, flagsChanged }) => events.push({ type: type.slice(9), message, flagsChanged }));
  }
  t.after(() => { provider.onClose(); }); // which waits, if the server does
  let failure;
  await OpenFeature.setProviderAndWait(domain, provider).catch((error) => { failure = error; });
  return { provider, client, events, failure };
}

/** A pool, which the test ends, even if it failed and holds a connection. */
export function poolOf(t, options) {
  const pool = new pg.Pool(options);
  const clients = [];
  pool.on('error', () => {});
  pool.on('connect', (client) => clients.push(client));
  t.after(() => {
    pool.end();
    for (const client of clients) client.end();
  });
  return pool;
}

/** Locks the flags, for whoever has to load them: all; until release() is called. */
export async function lockFlags(t) {
  const client = new pg.Client();
  await client.connect();
  t.after(() => client.end());
  await client.query('UPDATE feature_flag SET enabled = enabled');
  await client.query('BEGIN; LOCK TABLE feature_flag IN ACCESS EXCLUSIVE MODE');
  return { release: () => client.query('ROLLBACK') };
}

export const user = (targetingKey, more) => ({ targetingKey, ...more });

/** Waits until this is true; fails after some seconds. */
export async function until(what, isTrue, seconds = 10) {
  for (const end = Date.now() + seconds * 1000; Date.now() < end;) {
    if (await isTrue()) return;
    await new Promise((resolve) => { setTimeout(resolve, 20); });
  }
  throw new Error(`in ${seconds} s: not ${what}`);
}
