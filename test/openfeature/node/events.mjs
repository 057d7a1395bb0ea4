// pollIntervalMillis: each change is found once.
import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import pg from 'pg';
import { flags, on, open, poolOf, sql, until, user } from './common.mjs';

describe('events of changes', { timeout: 60_000 }, () => {
  before(() => flags({ f: on }));

  const change = 'UPDATE feature_flag SET enabled = NOT enabled';
  const pollIntervalMillis = 20;
  const polls = () => new Promise((resolve) => { setTimeout(resolve, 10 * pollIntervalMillis); });
  const session = async (t) => {
    const client = new pg.Client();
    await client.connect();
    t.after(() => client.end());
    return client;
  };
  /** A provider that polls; count() says how many events there are, once it has looked. */
  async function openPolling(t, options) {
    const pool = poolOf(t, options);
    let looks = 0;
    const query = async (config) => {
      const result = await pool.query(config);
      if (config.text.includes('feature_flag_change')) looks++;
      return result;
    };
    const { events } = await open(t, { pool: { query }, pollIntervalMillis });
    return async () => {
      const next = looks + 2; // one may be on its way
      await until('looked', () => looks >= next);
      return events.splice(0).filter(({ type }) => type === 'CONFIGURATION_CHANGED').length;
    };
  }

  it('there is one for each change, and none without', async (t) => {
    const count = await openPolling(t);
    assert.equal(await count(), 0);
    for (let i = 0; i < 5; i++) {
      await sql(change);
      assert.equal(await count(), 1);
    }
    await sql(`SELECT fflag_allow('f', 1, 2)`);
    assert.equal(await count(), 1);
    await sql(`BEGIN; ${change}; ROLLBACK`);
    await sql(`UPDATE feature_flag SET enabled = true WHERE name = 'typo'`);
    await sql('CREATE TABLE other (); DROP TABLE other');
    assert.equal(await count(), 0);
  });

  it('the order of commits does not matter', async (t) => {
    const [early, late, bystander] = [await session(t), await session(t), await session(t)];
    await bystander.query('BEGIN; CREATE TABLE bystander ()');
    await early.query(`BEGIN; SELECT fflag_register('early')`);
    const count = await openPolling(t);
    await late.query(`BEGIN; SELECT fflag_register('late')`);
    assert.equal(await count(), 0);
    await late.query('COMMIT');
    assert.equal(await count(), 1);
    await sql(`${change} WHERE name = 'f'`);
    assert.equal(await count(), 1);
    await early.query('COMMIT');
    assert.equal(await count(), 1);
    await bystander.query('ROLLBACK');
    assert.equal(await count(), 0);
    await sql(change);
    assert.equal(await count(), 1);
  });

  it('a change that was prepared long ago is found when it is committed', async (t) => {
    // to the provider, it was an hour ago
    await sql(`CREATE SCHEMA later; CREATE FUNCTION later.statement_timestamp() RETURNS timestamptz LANGUAGE sql AS
      $$ SELECT pg_catalog.statement_timestamp() + '1 hour' $$`);
    t.after(() => sql('DROP SCHEMA later CASCADE'));
    // no later transaction has ended yet, so that a snapshot's xmax is this one
    await sql(`BEGIN; SELECT fflag_register('prepared'); PREPARE TRANSACTION 'fflag node'`);
    t.after(() => sql(`ROLLBACK PREPARED 'fflag node'`).catch(() => {}));
    const count = await openPolling(t, { options: '-c search_path=later,pg_catalog,public' });
    assert.equal(await count(), 0);
    await sql(`SELECT fflag_register('another')`);
    assert.equal(await count(), 1);
    await sql(`COMMIT PREPARED 'fflag node'`);
    assert.equal(await count(), 1);
    // and now that it has ended, no older changes are read
    await sql(`SELECT fflag_register('yet another')`);
    assert.equal(await count(), 0);
  });

  it('what changes while the connection is lost is found later', async (t) => {
    const { events, client } = await open(t, { pollIntervalMillis: 300, application_name: 'regress_fflag_node' });
    await sql(`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'regress_fflag_node'`);
    await sql(change);
    await until('found', () => events.some(({ type }) => type === 'CONFIGURATION_CHANGED'));
    assert.equal((await client.getBooleanDetails('f', false, user('1'))).errorCode, undefined);
  });

  it('without the privilege to look, it says so', async (t) => {
    await sql(`DROP ROLE IF EXISTS regress_fflag_node; CREATE ROLE regress_fflag_node LOGIN;
      GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_node`);
    t.after(() => sql('DROP OWNED BY regress_fflag_node; DROP ROLE regress_fflag_node'));
    const { failure } = await open(t, { pollIntervalMillis, user: 'regress_fflag_node' });
    assert.match(failure.message, /permission denied for table feature_flag_change\. pollIntervalMillis needs GRANT SELECT/);
  });

  it('none is looked for unasked, or after closing', async (t) => {
    const looks = () => sql(`SELECT count(*)::int FROM pg_stat_activity WHERE application_name = 'regress_fflag_node' AND query LIKE '%feature_flag_change%'`);
    const application_name = 'regress_fflag_node';
    const { provider } = await open(t, { application_name });
    await polls();
    assert.deepEqual(await looks(), [{ count: 0 }]);
    const { provider: other, events } = await open(t, { pollIntervalMillis, application_name });
    assert.deepEqual(await looks(), [{ count: 1 }]);
    await provider.onClose();
    await other.onClose();
    events.splice(0);
    await sql(change);
    await polls();
    assert.deepEqual(events, []);
  });
});
