// batch() fetches many flags in one statement; using() asks in the application's transaction.
import assert from 'node:assert/strict';
import { AsyncResource } from 'node:async_hooks';
import { before, describe, it } from 'node:test';
import pg from 'pg';
import { flags, lockFlags, on, open, poolOf, sql, user } from './common.mjs';

const names = Array.from({ length: 30 }, (_, i) => `f${i}`);

/** A pool that remembers which names each statement has asked for. */
function listeningPool(t, options) {
  const pool = poolOf(t, options);
  const asked = [];
  return { asked, query: (config) => { asked.push(config.values[0]); return pool.query(config); } };
}

describe('batch()', () => {
  before(() => flags({
    ...Object.fromEntries(names.map((name) => [name, { enabled: true, rollout_percentage: 50 }])), rare: on, staff: { enabled: true, staff_only: true },
  }));

  const page = (client, context, which = names) => Promise.all(which.map((name) => client.getBooleanDetails(name, false, context)));
  const values = (answers) => answers.map((details) => details.value);
  const expected = async (key) => (await sql('SELECT fflag_enabled(name, $2::text) AS e FROM unnest($1::text[]) WITH ORDINALITY AS t (name, i) ORDER BY i', [names, key])).map((row) => row.e);

  it('fetches in one statement what earlier ones asked for', async (t) => {
    const pool = listeningPool(t);
    const { client, provider } = await open(t, { pool });
    await provider.batch(() => page(client, user('1')));
    pool.asked.length = 0;

    const answers = await provider.batch(async () => [...await page(client, user('2')), ...await page(client, user('2'))]);
    assert.deepEqual(pool.asked.map((each) => each.toSorted()), [names.toSorted()]);
    assert.deepEqual(answers.filter((details) => details.errorCode), []);
    assert.deepEqual(values(answers), [...await expected('2'), ...await expected('2')]);

    // one after the other, too; another user, and staff, are asked apart
    pool.asked.length = 0;
    await provider.batch(async () => {
      for (const context of [user('3'), user('4'), user('4', { is_staff: true })]) {
        for (const name of [...names, 'staff']) {
          const { value } = await client.getBooleanDetails(name, false, context);
          if (name === 'staff') assert.equal(value, context.is_staff === true);
        }
        assert.deepEqual(values(await page(client, context)), await expected(context.targetingKey));
      }
    });
    // "staff" was new
    assert.deepEqual(pool.asked.map((each) => each.length), [30, 1, 31, 31]);

    // outside, each is asked alone
    pool.asked.length = 0;
    await page(client, user('5'), ['f1', 'f2']);
    assert.deepEqual(pool.asked, [['f1'], ['f2']]);
  });

  it('does not keep a failure', async (t) => {
    const grant = 'GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_batch';
    await sql(`DROP ROLE IF EXISTS regress_fflag_batch; CREATE ROLE regress_fflag_batch LOGIN; ${grant}`);
    t.after(() => sql('DROP OWNED BY regress_fflag_batch; DROP ROLE regress_fflag_batch'));
    const { client, provider } = await open(t, { user: 'regress_fflag_batch' });
    await provider.batch(async () => {
      await sql(grant.replace('GRANT', 'REVOKE').replace(' TO ', ' FROM '));
      assert.equal((await client.getBooleanDetails('rare', false, user('1'))).errorCode, 'GENERAL');
      await sql(grant);
      assert.equal((await client.getBooleanDetails('rare', false, user('1'))).value, true);
    });
  });

  it('returns, and throws, what its callback does', async (t) => {
    const { provider } = await open(t);
    assert.equal(provider.batch(() => 3), 3);
    assert.throws(() => provider.batch(() => { throw new RangeError('mine'); }), RangeError);
    await assert.rejects(provider.batch(async () => { throw new RangeError('mine'); }), RangeError);
  });

  it('batches that overlap keep their own answers', async (t) => {
    const { client, provider } = await open(t);
    await provider.batch(() => page(client, user('0')));
    const keys = Array.from({ length: 20 }, (_, i) => `${i}`);
    const right = await Promise.all(keys.map(expected));
    await Promise.all(keys.map((key, i) => provider.batch(async () => {
      for (let round = 0; round < 3; round++) assert.deepEqual(values(await page(client, user(key))), right[i]);
    })));
  });

  it('has one snapshot; the next one has the next', async (t) => {
    const { client, provider } = await open(t);
    const ask = () => client.getBooleanValue('rare', false, user('1'));
    await provider.batch(async () => {
      assert.equal(await ask(), true);
      await sql("UPDATE feature_flag SET enabled = false WHERE name = 'rare'");
      assert.equal(await ask(), true);
    });
    assert.equal(await provider.batch(ask), false);
    await sql("UPDATE feature_flag SET enabled = true WHERE name = 'rare'");
  });

  it('keeps answers for 10 seconds at most, and those of 1000 users', async (t) => {
    const pool = listeningPool(t);
    const { client, provider } = await open(t, { pool });
    const ask = (key) => client.getBooleanValue('f1', false, user(key));
    t.mock.timers.enable({ apis: ['Date'], now: Date.now() });
    pool.asked.length = 0;
    await provider.batch(async () => {
      for (const [millis, statements] of [[0, 1], [9_900, 1], [200, 2], [9_900, 2]]) {
        t.mock.timers.tick(millis);
        await ask('1');
        assert.equal(pool.asked.length, statements);
      }
      await Promise.all(Array.from({ length: 1000 }, (_, i) => ask(`${i + 1}`)));
      await ask('1');
      assert.equal(pool.asked.length, 1001);
      await ask('1001');
      await ask('1001');
      await ask('1');
      assert.equal(pool.asked.length, 1003);
    });
  });

  it('ends with its callback; what that has left behind goes on without it', async (t) => {
    const { client, provider } = await open(t);
    const change = () => sql("UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'rare'");
    const ask = () => client.getBooleanValue('rare', false, user('1'));
    let left;
    const leave = () => { left = AsyncResource.bind(ask); };
    for (const callback of [
      async () => { leave(); await ask(); }, () => { leave(); ask(); }, () => { leave(); throw new RangeError('mine'); }, async () => { leave(); await ask(); throw new RangeError('mine'); },
    ]) {
      try {
        await provider.batch(callback);
      } catch (error) {
        assert.ok(error instanceof RangeError);
      }
      const before = await left();
      await change();
      assert.equal(await left(), !before);
      await change();
    }
  });

  it('names that nobody asks for any more are forgotten', async (t) => {
    const pool = listeningPool(t);
    const { client, provider } = await open(t, { pool });
    await provider.batch(() => client.getBooleanValue('rare', false, user('1')));
    const batches = (count) => Array.from({ length: count }).reduce((last) => last.then(() =>
      provider.batch(() => client.getBooleanValue('f1', false, user('1')))), Promise.resolve());
    await batches(100);
    assert.deepEqual(pool.asked.at(-1), ['f1', 'rare']);
    await batches(1);
    assert.deepEqual(pool.asked.at(-1), ['f1']);
  });

  it('remembers no name without a flag, and a thousand at most', async (t) => {
    const pool = listeningPool(t);
    const { client, provider } = await open(t, { pool });
    const many = Array.from({ length: 1100 }, (_, i) => `many${i}`);
    await sql('INSERT INTO feature_flag (name, enabled) SELECT unnest($1::text[]), true', [many]);
    await provider.batch(() => page(client, user('1'), ['made up', ...many, 'also made up']));
    await provider.batch(() => client.getBooleanValue('f1', false, user('1')));
    assert.equal(pool.asked.at(-1).length, 1001);
    assert.deepEqual(pool.asked.at(-1).filter((name) => name.includes('made up')), []);

    await sql("DELETE FROM feature_flag WHERE name LIKE 'many%'");
    await provider.batch(() => page(client, user('1'), many));
    await provider.batch(() => client.getBooleanValue('f1', false, user('1')));
    assert.deepEqual(pool.asked.at(-1), ['f1']);
  });

  it('each flag that it fetches is counted once', async (t) => {
    const { client, provider } = await open(t);
    await provider.batch(() => page(client, user('1')));
    await sql('SELECT fflag_usage_reset()');
    await provider.batch(() => page(client, user('2')));
    await provider.onClose();
    assert.deepEqual(await sql('SELECT name, evaluations::int FROM fflag_usage() WHERE evaluations > 0 ORDER BY name COLLATE "C"'),
      names.toSorted().map((name) => ({ name, evaluations: 1 })));
  });

  it('gives the defaults when the statement fails, and ends no process', async (t) => {
    const { client, provider } = await open(t, { query_timeout: 300 });
    await provider.batch(() => page(client, user('1')));
    const lock = await lockFlags(t);
    const answers = await provider.batch(() => page(client, user('2'), names.slice(0, 3)));
    await lock.release();
    assert.deepEqual(answers.map((details) => details.errorCode), ['GENERAL', 'GENERAL', 'GENERAL']);
    await new Promise((resolve) => { setTimeout(resolve, 50); }); // a rejection that nobody handles ends the process
  });
});

describe('using()', () => {
  before(() => flags({ f: on, g: on }));

  it("asks in the application's transaction, on its connection", async (t) => {
    const pool = poolOf(t, { max: 1, connectionTimeoutMillis: 500 });
    const { client, provider, events } = await open(t, { pool });
    const ask = (name = 'f') => client.getBooleanDetails(name, false, user('1'));
    const own = await pool.connect();
    await own.query('BEGIN');
    await own.query("UPDATE feature_flag SET enabled = false WHERE name = 'f'");
    const { value, reason } = await provider.using(own, ask);
    assert.deepEqual({ value, reason }, { value: false, reason: 'DISABLED' });
    assert.equal(await provider.using(own, () => provider.batch(async () => (await ask()).value || (await ask('g')).value)), true);
    const left = provider.using(own, () => AsyncResource.bind(ask));
    await own.query('ROLLBACK');
    own.release();
    assert.equal((await ask()).value, true);
    const other = await pool.connect(); // the same, of somebody else now
    await other.query('BEGIN');
    await other.query("UPDATE feature_flag SET enabled = false WHERE name = 'f'");
    assert.match((await left()).errorMessage, /timeout exceeded/); // it asks the pool, which has no second one
    await other.query('ROLLBACK');
    other.release();
    assert.deepEqual(events.map((event) => event.type), ['READY']);
  });

  it('an error of that transaction is not one of the database', async (t) => {
    const { client, provider, events } = await open(t);
    const ask = () => client.getBooleanDetails('f', false, user('1'));
    const own = new pg.Client();
    own.on('error', () => {});
    await own.connect();
    t.after(() => own.end().catch(() => {}));
    await own.query('BEGIN');
    await own.query('SELECT 1 / 0').catch(() => {});
    assert.match((await provider.using(own, ask)).errorMessage, /current transaction is aborted/);
    await sql('SELECT pg_terminate_backend($1)', [own.processID]);
    assert.equal((await provider.using(own, ask)).errorCode, 'GENERAL');
    assert.equal((await ask()).value, true);
    assert.deepEqual(events.map((event) => event.type), ['READY']);
  });
});
