// The server restarts, stops, refuses, kills connections; the pool is exhausted; privileges are missing.
import assert from 'node:assert/strict';
import { execSync } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import { before, describe, it } from 'node:test';
import { flags, lockFlags, on, open, poolOf, sql, until, user } from './common.mjs';

// Blocks this process: a pool hears nothing of what happens in the meantime.
const start = () => execSync(process.env.FFLAG_RESTART, { stdio: 'ignore' });
const stop = async () => {
  await sql("COPY (SELECT 1) TO PROGRAM 'kill -INT $(head -n 1 postmaster.pid)'").catch(() => {});
  await until('stopped', () => sql('SELECT 1').then(() => false, (error) => error.severity === undefined));
};
const canRestart = { skip: !process.env.FFLAG_RESTART && 'FFLAG_RESTART is not set' };

const types = (events) => events.map((event) => event.type);
const kill = (name = 'openfeature') => sql('SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = $1', [name]);

describe('outages', { timeout: 60_000 }, () => {
  before(() => flags({ f: on }));

  const ask = (client) => client.getBooleanDetails('f', false, user('1'));
  const many = (client, count) => Promise.all(Array.from({ length: count }, () => ask(client)));
  const assertRight = (answers) => assert.deepEqual(answers.map(({ value, errorMessage }) => errorMessage ?? value), answers.map(() => true));

  it('a restart costs no answer', canRestart, async (t) => {
    const { client, events } = await open(t);
    for (let i = 0; i < 3; i++) {
      await many(client, 10);
      start();
      assertRight(await many(client, 20));
    }
    assert.deepEqual(types(events), ['READY']);
  });

  it('connections that are killed while 50 evaluations run cost no answer', async (t) => {
    const { client, events } = await open(t);
    for (let i = 0; i < 10; i++) {
      const killed = kill();
      assertRight(await many(client, 50));
      await killed;
    }
    assert.deepEqual(types(events), ['READY']);
  });

  it('a connection that is killed in mid-statement costs no answer', async (t) => {
    const { client, events } = await open(t, { application_name: 'regress_fflag_node' });
    await ask(client);
    const lock = await lockFlags(t);
    const answer = ask(client);
    const waiting = async () => (await sql("SELECT pid FROM pg_stat_activity WHERE application_name = 'regress_fflag_node' AND wait_event_type = 'Lock'"))[0]?.pid;
    await until('waiting', waiting);
    const pid = await waiting();
    await kill('regress_fflag_node');
    await until('waiting again', async () => ![undefined, pid].includes(await waiting()));
    await lock.release();
    assertRight([await answer]);
    assert.deepEqual(types(events), ['READY']);
  });

  it('while the server is down, the default comes at once; then it is READY by itself', canRestart, async (t) => {
    const { client, events } = await open(t);
    await ask(client);
    await stop();
    try {
      const first = await many(client, 20);
      assert.deepEqual(first.map(({ errorCode, value }) => [errorCode, value]), first.map(() => ['GENERAL', false]));
      assert.equal(client.providerStatus, 'ERROR');
      const began = Date.now();
      for (let i = 0; i < 500; i++) assert.equal((await ask(client)).errorCode, 'GENERAL');
      assert.ok(Date.now() - began < 5000, `500 defaults take ${Date.now() - began} ms`);
      await new Promise((resolve) => { setTimeout(resolve, 1500); }); // it looks again, in vain
      assert.deepEqual(types(events), ['READY', 'ERROR']);
      assert.match(events[1].message, /ENOENT|ECONNREFUSED|terminat/);
    } finally {
      start();
    }
    await until('READY', () => client.providerStatus === 'READY', 3);
    assertRight(await many(client, 20));
    assert.deepEqual(types(events), ['READY', 'ERROR', 'READY']);
  });

  it('a server that is down at first is found later, by itself', canRestart, async (t) => {
    await stop();
    let opened;
    try {
      opened = await open(t);
      assert.equal(opened.failure.code, 'GENERAL');
      assert.equal(opened.client.providerStatus, 'ERROR');
    } finally {
      start();
    }
    await until('READY', () => opened.client.providerStatus === 'READY', 3);
    assertRight([await ask(opened.client)]);
    assert.deepEqual(types(opened.events), ['ERROR', 'READY']);
  });

  it('a provider that is closed looks no more', canRestart, async (t) => {
    const pool = poolOf(t);
    let asked = 0;
    const { client, provider } = await open(t, { pool: { query: (config) => { asked++; return pool.query(config); } } });
    await stop();
    try {
      assert.equal((await ask(client)).errorCode, 'GENERAL');
    } finally {
      start();
    }
    await provider.onClose();
    asked = 0;
    await new Promise((resolve) => { setTimeout(resolve, 1500); });
    assert.equal(asked, 0);
  });

  it('a statement that takes too long gives the default, and is not asked again', async (t) => {
    const { client, events } = await open(t, { pool: poolOf(t) }); // which would wait
    const lock = await lockFlags(t);
    const began = Date.now();
    assert.match((await ask(client)).errorMessage, /timeout/);
    assert.ok(Date.now() - began < 3500, `it takes ${Date.now() - began} ms`);
    await lock.release();
    await until('READY', () => client.providerStatus === 'READY', 3);
    assertRight([await ask(client)]);
    assert.deepEqual(types(events), ['READY', 'ERROR', 'READY']);
  });

  it('while flags are locked, few statements wait for the lock', async (t) => {
    const application_name = 'regress_fflag_node';
    const { client, events } = await open(t, { query_timeout: 300, application_name });
    const lock = await lockFlags(t);
    assert.match((await ask(client)).errorMessage, /timeout/);
    const end = Date.now() + 2800;
    while (Date.now() < end) {
      await many(client, 10);
      await new Promise((resolve) => { setTimeout(resolve, 10); });
    }
    const [{ count }] = await sql("SELECT count(*)::int FROM pg_stat_activity WHERE application_name = $1 AND wait_event_type = 'Lock'", [application_name]);
    assert.ok(count <= 2, `${count} wait`);
    assert.deepEqual(types(events), ['READY', 'ERROR']);
    await lock.release();
    await until('READY', () => client.providerStatus === 'READY', 5);
    assertRight(await many(client, 10));
    assert.deepEqual(types(events), ['READY', 'ERROR', 'READY']);

    // or the server ends the waiting
    const other = await open(t, { options: '-c lock_timeout=50' });
    const again = await lockFlags(t);
    assert.match((await ask(other.client)).errorMessage, /lock timeout/);
    await again.release();
    assertRight([await ask(other.client)]);
    assert.deepEqual(types(other.events), ['READY']);
  });

  it('idle connections that the server has ended cost no answer', async (t) => {
    // over TCP, where the client hears why; the server has a Unix socket only
    const { PGHOST, PGPORT = 5432 } = process.env;
    const relay = createServer((socket) => {
      const server = connect(`${PGHOST}/.s.PGSQL.${PGPORT}`);
      for (const [from, to] of [[socket, server], [server, socket]]) from.on('error', () => to.destroy()).pipe(to);
    }).listen(0, '127.0.0.1');
    await once(relay, 'listening');
    t.after(() => relay.close());
    const options = { options: '-c idle_session_timeout=100' };
    for (const where of [{}, { host: '127.0.0.1', port: relay.address().port }]) {
      const { client, events } = await open(t, { ...options, ...where });
      await many(client, 10);
      execSync('sleep 0.3'); // this process hears nothing
      assertRight(await many(client, 10));
      assert.deepEqual(types(events), ['READY']);
    }
  });

  it('an exhausted pool is no outage, and not asked again', async (t) => {
    const pool = poolOf(t, { max: 1, connectionTimeoutMillis: 500 });
    const { client, events } = await open(t, { pool });
    const held = await pool.connect();
    const began = Date.now();
    assert.match((await ask(client)).errorMessage, /timeout exceeded when trying to connect/);
    assert.ok(Date.now() - began < 950, `it takes ${Date.now() - began} ms`);
    held.release();
    assertRight([await ask(client)]);
    assert.deepEqual(types(events), ['READY']);
  });

  it('what a role may not do is said, with what to do', async (t) => {
    await sql(`DROP ROLE IF EXISTS regress_fflag_node; CREATE ROLE regress_fflag_node LOGIN`);
    const grant = () => sql('GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_node');
    t.after(() => sql('DROP OWNED BY regress_fflag_node; DROP ROLE regress_fflag_node'));

    const { client, events, failure } = await open(t, { user: 'regress_fflag_node' });
    assert.match(failure.message, /permission denied for function fflag_evaluate\. This role needs GRANT EXECUTE ON FUNCTION/);
    assert.equal((await ask(client)).errorMessage, failure.message);
    await grant();
    assertRight([await ask(client)]);
    assert.deepEqual(types(events), ['ERROR', 'READY']);

    await sql('REVOKE ALL ON FUNCTION fflag_evaluate(text[], text, boolean) FROM regress_fflag_node');
    assert.equal((await ask(client)).errorMessage, failure.message);
    await grant();
    assertRight([await ask(client)]);
    assert.deepEqual(types(events), ['ERROR', 'READY']);

    // a limit of connections is no outage either
    const limited = await open(t, { user: 'regress_fflag_node', max: 2 });
    await sql('ALTER ROLE regress_fflag_node CONNECTION LIMIT 1');
    const answers = await many(limited.client, 2);
    assert.match(answers.map((details) => details.errorMessage).join(), /too many connections/);
    assertRight([await ask(limited.client)]);
    assert.deepEqual(types(limited.events), ['READY']);
  });

  it('a database without the extension says so', async (t) => {
    const { failure } = await open(t, { options: '-c search_path=pg_catalog' });
    assert.match(failure.message, /function fflag_evaluate\(text\[\], text, boolean\) does not exist\. This database needs CREATE EXTENSION/);
  });

  it('a role that may not log in is found later, by itself; a database that is not there is said', async (t) => {
    await sql(`DROP ROLE IF EXISTS regress_fflag_node; CREATE ROLE regress_fflag_node NOLOGIN;
      GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean) TO regress_fflag_node`);
    t.after(() => sql('DROP OWNED BY regress_fflag_node; DROP ROLE regress_fflag_node'));
    const { client, failure } = await open(t, { user: 'regress_fflag_node' });
    assert.match(failure.message, /role "regress_fflag_node" is not permitted to log in/);
    const { failure: other } = await open(t, { database: 'regress_fflag_nowhere' });
    assert.match(other.message, /database "regress_fflag_nowhere" does not exist/);
    await sql('ALTER ROLE regress_fflag_node LOGIN');
    await until('READY', () => client.providerStatus === 'READY', 3);
  });
});
