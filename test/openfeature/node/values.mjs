// Values, reasons and errors; who the user is; what the application does to pg does not matter.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { FflagProvider } from '@fflag/openfeature-provider';
import pg from 'pg';
import { flags, on, open, poolOf, sql, user } from './common.mjs';

// the table that the clients in Python and OFREP are tested with, too
describe('scenarios', () => {
  const read = (file) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8');
  let opened;
  let close;
  before(async () => {
    await flags({});
    await sql(read('flags.sql'));
    opened = await open({ after: (end) => { close = end; } });
  });
  after(() => close());
  const method = { boolean: 'Boolean', string: 'String', integer: 'Number', float: 'Number', object: 'Object' };
  const scenarios = JSON.parse(read('scenarios.json')).scenarios.filter(({ node }) => node !== null);

  for (const { what, flag, context, type, default: defaultValue, node, ...rest } of scenarios) {
    it(`${type}, ${what}`, async () => {
      const { client, provider } = opened;
      const { value, variant, reason, error, metadata } = { ...rest, ...node };
      const ask = () => client[`get${method[type]}Details`](flag, defaultValue, context);
      for (const details of [await ask(), await provider.batch(ask)]) {
        assert.deepEqual({
          value: details.value, variant: details.variant ?? null, reason: details.reason, error: details.errorCode ?? null,
          metadata: metadata && { ...details.flagMetadata },
        }, { value, variant, reason, error, metadata }, details.errorMessage);
      }
    });
  }
});

describe('values', () => {
  before(() => flags({
    everybody: on,
    staff: { enabled: true, staff_only: true },
    half: { enabled: true, rollout_percentage: 50 },
    'naïve, {"🦔"} \\ NULL': on,
    NULL: on,
    safe: { ...on, variants: { v: { payload: 9007199254740991 } } },
    beyond: { ...on, variants: { v: { payload: null } } },
    float: { ...on, variants: { v: { payload: 0.1 } } },
    object: { ...on, variants: { v: { payload: { n: [1, null, 'x'] } } } },
  }).then(() => sql("UPDATE feature_flag_variant SET payload = '9007199254740993' WHERE flag_id = (SELECT id FROM feature_flag WHERE name = 'beyond')")));

  it('the user is the targetingKey, as text', async (t) => {
    const { client } = await open(t);
    for (const [key, text] of [['7', '7'], ['', ''], ['naïve 🦔', 'naïve 🦔'], ['007', '007'], [undefined, null]]) {
      const [expected] = await sql("SELECT bucket, enabled FROM fflag_explain('half', $1::text)", [text]);
      const details = await client.getBooleanDetails('half', !expected.enabled, user(key));
      assert.equal(details.flagMetadata.bucket ?? null, expected.bucket, `bucket of ${key}`);
      assert.equal(details.value, expected.enabled, `answer to ${key}`);
    }
  });

  it('a targetingKey that is no text is refused, and no outage', async (t) => {
    const { client, events } = await open(t);
    for (const key of ['a\0b', '\0', '\ud800', 'a\udc00b', 7, 7n, NaN, true, {}]) {
      const details = await client.getBooleanDetails('everybody', false, user(key));
      assert.equal(details.errorCode, 'INVALID_CONTEXT', String(key));
      assert.equal(details.value, false);
    }
    assert.equal(await client.getBooleanValue('everybody', false, user('a')), true);
    assert.equal(client.providerStatus, 'READY');
    assert.deepEqual(events.map((event) => event.type), ['READY']);
  });

  it('a name that is no text is that of no flag, and no outage', async (t) => {
    const { client, provider, events } = await open(t);
    for (const name of ['a\0b', '\0', '\ud800', 'everybody\udc00', 'EVERYBODY', '', 'a'.repeat(100_000), null, 7]) {
      for (const ask of [(callback) => callback(), (callback) => provider.batch(callback)]) {
        const details = await ask(() => client.getBooleanDetails(name, true, user('a')));
        assert.equal(details.errorCode, 'FLAG_NOT_FOUND', String(name).slice(0, 100));
        assert.equal(details.value, true);
      }
    }
    assert.equal(client.providerStatus, 'READY');
    assert.deepEqual(events.map((event) => event.type), ['READY']);
  });

  it('a name is any text', async (t) => {
    const { client } = await open(t);
    for (const name of ['naïve, {"🦔"} \\ NULL', 'NULL']) {
      assert.equal((await client.getBooleanDetails(name, false, user('a'))).reason, 'STATIC', name);
    }
  });

  it('is_staff counts only if it is true', async (t) => {
    const { client } = await open(t);
    for (const [is_staff, expected] of [[true, true], [false, false], [undefined, false], [null, false], [1, false], ['true', false], ['t', false]]) {
      assert.equal(await client.getBooleanValue('staff', !expected, user('a', { is_staff })), expected, String(is_staff));
    }
  });

  it("a function of the application's replaces user and staff", async (t) => {
    const found = { userId: '42', isStaff: true };
    for (const subject of [() => found, async () => found]) {
      const { client } = await open(t, { subject });
      const { value, flagMetadata } = await client.getBooleanDetails('staff', false, user('7'));
      assert.equal(value, true);
      assert.equal(flagMetadata.bucket, (await sql("SELECT fflag_bucket('staff', 42) AS bucket"))[0].bucket);
    }
    const seen = [];
    const { client } = await open(t, { subject: (context) => { seen.push(context); return { userId: null, isStaff: 'yes' }; } });
    assert.equal(await client.getBooleanValue('staff', true, user('7', { plan: 'pro', is_staff: true })), false);
    assert.deepEqual(seen, [{ targetingKey: '7', plan: 'pro', is_staff: true }]);
    for (const wrong of [() => ({ user_id: '7' }), () => ({ userId: '\0' }), () => ({ userId: 7 }), () => undefined, () => null, () => '7']) {
      const { client: other } = await open(t, { subject: wrong });
      assert.equal((await other.getBooleanDetails('everybody', false, user('7'))).errorCode, 'INVALID_CONTEXT');
    }
    const { client: third } = await open(t, { subject: () => { throw new RangeError('mine'); } });
    assert.equal((await third.getBooleanDetails('everybody', false, user('7'))).errorMessage, 'mine');
  });

  it('numbers are exact, or an error', async (t) => {
    const { client } = await open(t);
    assert.equal(await client.getNumberValue('safe', 0, user('a')), 9007199254740991);
    assert.equal(await client.getNumberValue('float', 0, user('a')), 0.1);
    const details = await client.getNumberDetails('beyond', 5, user('a'));
    assert.equal(details.value, 5);
    assert.equal(details.errorCode, 'TYPE_MISMATCH');
    assert.match(details.errorMessage, /payload of variant "v" of flag "beyond" is beyond 2\^53/);
  });

  it("how the application's pool reads values does not matter", async (t) => {
    const text = { getTypeParser: () => () => 'as the application wants' };
    for (const options of [{ types: text }, { binary: true }]) {
      const { client } = await open(t, { pool: poolOf(t, options) });
      assert.equal(await client.getBooleanValue('everybody', false, user('a')), true);
      assert.equal(await client.getNumberValue('float', 0, user('a')), 0.1);
      assert.deepEqual(await client.getObjectValue('object', {}, user('a')), { n: [1, null, 'x'] });
    }
  });

  it('a pool that the application gave stays open', async (t) => {
    const pool = poolOf(t);
    const { provider } = await open(t, { pool });
    await provider.onClose();
    assert.equal((await pool.query('SELECT 1 AS one')).rows[0].one, 1);

    // and if the application has closed it, that is no outage
    const closed = new pg.Pool();
    const { client, events } = await open(t, { pool: closed });
    await closed.end();
    assert.equal((await client.getBooleanDetails('everybody', false, user('a'))).errorCode, 'PROVIDER_NOT_READY');
    assert.deepEqual(events.map((event) => event.type), ['READY']);
  });

  it('a provider that was closed says so, and can be set again', async (t) => {
    const { client, provider } = await open(t);
    await provider.onClose();
    const details = await client.getBooleanDetails('everybody', false, user('a'));
    assert.equal(details.errorCode, 'PROVIDER_NOT_READY');
    await provider.initialize();
    assert.equal(await client.getBooleanValue('everybody', false, user('a')), true);
  });

  it('the next evaluation sees a change', async (t) => {
    const { client, provider } = await open(t);
    const admin = new pg.Client();
    await admin.connect();
    t.after(() => admin.end());
    for (let i = 0; i < 100; i++) {
      const { rows: [{ enabled }] } = await admin.query("UPDATE feature_flag SET enabled = NOT enabled WHERE name = 'everybody' RETURNING enabled");
      assert.equal(await client.getBooleanValue('everybody', !enabled, user('a')), enabled);
      assert.equal(await provider.batch(() => client.getBooleanValue('everybody', !enabled, user('a'))), enabled);
    }
  });

  it('200 evaluations at once', async (t) => {
    const { client } = await open(t);
    const expected = await sql("SELECT fflag_enabled('half', id) AS enabled FROM generate_series(1, 200) AS id ORDER BY id");
    const answers = await Promise.all(expected.map((row, i) => client.getBooleanDetails('half', !row.enabled, user(`${i + 1}`))));
    assert.deepEqual(answers.map((details) => details.value), expected.map((row) => row.enabled));
    assert.equal(new Set(answers.map((details) => details.value)).size, 2);
    assert.deepEqual(answers.filter((details) => details.errorCode), []);
  });

  it('each evaluation is counted once', async (t) => {
    await sql('SELECT fflag_usage_reset()');
    const { client, provider } = await open(t);
    for (let i = 0; i < 5; i++) await client.getBooleanValue('everybody', false, user('a'));
    await provider.onClose();
    assert.deepEqual(await sql('SELECT name, evaluations::int FROM fflag_usage() WHERE evaluations > 0'), [{ name: 'everybody', evaluations: 5 }]);
  });

  it('through pgbouncer, in transaction mode', { skip: !process.env.FFLAG_PGBOUNCER_HOST && 'no pgbouncer' }, async (t) => {
    const options = { host: process.env.FFLAG_PGBOUNCER_HOST, port: Number(process.env.FFLAG_PGBOUNCER_PORT), max: 6 };
    const { client, provider, events } = await open(t, options);
    const expected = await sql("SELECT fflag_enabled('half', id) AS enabled FROM generate_series(0, 599) AS id ORDER BY id");
    const ask = (i) => client.getBooleanDetails('half', !expected[i].enabled, user(`${i}`));
    let wrong = 0;
    for (let i = 0; i < 600; i += 6) {
      const six = [0, 1, 2, 3, 4, 5].map((k) => (k % 2 ? ask(i + k) : provider.batch(() => ask(i + k))));
      for (const [k, details] of (await Promise.all(six)).entries()) {
        if (details.errorCode || details.value !== expected[i + k].enabled) wrong++;
      }
    }
    assert.equal(wrong, 0);
    assert.deepEqual(events.map((event) => event.type), ['READY']);
  });
});

describe('options', () => {
  it('those that are wrong are refused at once', () => {
    assert.throws(() => new FflagProvider({ pool: 'postgres://' }), /pool must be a pg\.Pool/);
    assert.throws(() => new FflagProvider({ pool: { query() {} }, connectionString: 'x', max: 3 }), /no use for the option connectionString,max/);
    assert.throws(() => new FflagProvider({ connectionString: 'postgres://[' }), TypeError);
    for (const pollIntervalMillis of [0, -1, NaN, Infinity, 2 ** 31, 'often', null]) {
      assert.throws(() => new FflagProvider({ pollIntervalMillis }), /pollIntervalMillis must be/);
    }
  });

  it('a script ends by itself', async () => {
    const code = `
      import { OpenFeature } from '@openfeature/server-sdk';
      import { FflagProvider } from '@fflag/openfeature-provider';
      await OpenFeature.setProviderAndWait(new FflagProvider());
      console.log((await OpenFeature.getClient().getBooleanDetails('typo', false)).errorCode);`;
    const cwd = new URL('.', import.meta.url).pathname;
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', code], { cwd, encoding: 'utf8', timeout: 8000 });
    assert.equal(said, 'FLAG_NOT_FOUND\n');
  });

  it('the first program of the README', async () => {
    const readme = readFileSync(new URL('README.md', import.meta.resolve('@fflag/openfeature-provider')), 'utf8');
    const block = (language) => readme.match(new RegExp(`\`\`\`${language}\\n(.*?)\`\`\``, 's'))[1];
    await sql('TRUNCATE feature_flag CASCADE');
    await sql(block('sql').replace('CREATE EXTENSION fflag;', ''));
    const { PGHOST, PGPORT = 5432, PGUSER, PGDATABASE } = process.env;
    const DATABASE_URL = `postgres://${PGUSER}@/${PGDATABASE}?host=${PGHOST}&port=${PGPORT}`;
    const cwd = new URL('.', import.meta.url).pathname;
    const said = execFileSync(process.execPath, ['--input-type=module', '-e', block('js')], { cwd, encoding: 'utf8', env: { ...process.env, DATABASE_URL } });
    assert.equal(said, 'new checkout\n');
  });

  it('answers.mjs', async () => {
    await flags({ half: { enabled: true, rollout_percentage: 50 }, staff: { enabled: true, staff_only: true } });
    const questions = Array.from({ length: 100 }, (_, i) => ({ flag: i % 3 ? 'half' : 'staff', user: i % 10 ? `${i}` : null, staff: i % 2 === 0 }));
    const input = questions.map((question) => `${JSON.stringify(question)}\n`).join('');
    const said = execFileSync(process.execPath, [new URL('answers.mjs', import.meta.url).pathname], { input, encoding: 'utf8' });
    const expected = await sql('SELECT fflag_enabled(flag, "user", staff) AS enabled FROM json_to_recordset($1) AS q (flag text, "user" text, staff boolean)', [JSON.stringify(questions)]);
    assert.deepEqual(said.trimEnd().split('\n').map((line) => JSON.parse(line)), expected);
    assert.equal(new Set(expected.map((row) => row.enabled)).size, 2);
  });

  it('types', () => {
    const tsc = new URL('../bin/tsc', import.meta.resolve('typescript'));
    const said = (() => {
      try {
        return execFileSync(process.execPath, [tsc.pathname, '--strict', '--noEmit', '--module', 'nodenext', '--target', 'es2022', '--types', 'node',
          new URL('types.ts', import.meta.url).pathname], { encoding: 'utf8' });
      } catch (error) {
        return error.stdout;
      }
    })();
    assert.equal(said, '');
  });

  it('require()', () => {
    const code = "console.log(typeof require('@fflag/openfeature-provider').FflagProvider)";
    const cwd = new URL('.', import.meta.url).pathname;
    assert.equal(execFileSync(process.execPath, ['--no-warnings', '--input-type=commonjs', '-e', code], { cwd, encoding: 'utf8' }), 'function\n');
  });
});
