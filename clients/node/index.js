// OpenFeature provider for fflag, feature flags in PostgreSQL.
//
// Each evaluation asks the database, whose answers are never stale; nothing is cached here.
import { AsyncLocalStorage } from 'node:async_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  FlagNotFoundError, GeneralError, InvalidContextError, OpenFeatureEventEmitter, ProviderEvents,
  ProviderNotReadyError, TypeMismatchError,
} from '@openfeature/server-sdk';
import pg from 'pg';

// Without a name: a statement that is prepared fails behind pgbouncer.  As one text: the
// application may have changed how pg parses a boolean or JSON.
const evaluate = {
  text: 'SELECT row_to_json(flag)::text AS flag FROM fflag_evaluate($1::text[], $2::text, $3::boolean) AS flag',
  types: { getTypeParser: () => String },
};

// Whether a transaction that the snapshot $1 does not show has changed flags.  All such transactions began
// after $2, which an index has; so did their commit, or PREPARE.  The minute is for a clock that is set back.
const pollChanges = {
  text: `SELECT pg_current_snapshot()::text AS snapshot, age('3'::xid)::text AS age, statement_timestamp()::text AS now, EXISTS (
      SELECT FROM feature_flag_change
      WHERE (at >= $2::timestamptz - interval '1 minute' OR at IS NULL)
        AND NOT begins AND NOT pg_visible_in_snapshot(transaction, $1::pg_snapshot))::text AS changed`,
  types: evaluate.types,
};

const TIMEOUT_MILLIS = 2000;
const RETRY_MILLIS = [50, 200]; // of a server that ends many connections at once, some die late
const DOWN_MILLIS = 1000;
const MAX_DOWN_MILLIS = 30_000;
// of batches
const MAX_NAMES = 1000; // that are remembered
const FORGET_AFTER = 100; // batches that have not asked for a name
const MAX_USERS = 1000; // whose answers one batch keeps
const MAX_AGE_MILLIS = 10_000; // of these answers: a request may go on for hours

const hints = {
  42501: 'This role needs GRANT EXECUTE ON FUNCTION fflag_evaluate(text[], text, boolean).',
  42883: 'This database needs CREATE EXTENSION fflag; and this role USAGE on the schema of the extension, and that '
    + 'schema in its search_path.',
};

/** The user of an evaluation context: the default of the option `subject`. */
export function subjectOf(context) {
  return { userId: context.targetingKey ?? null, isStaff: context.is_staff === true };
}

// PostgreSQL has no such text, and a lone surrogate would become another character.
const isText = (value) => typeof value === 'string' && value.isWellFormed() && !value.includes('\0');

function checkUser(id) {
  if (id === null) return; // nobody
  if (typeof id !== 'string') {
    throw new InvalidContextError(`the user must be a string, or null for nobody; this one is ${typeof id}`);
  }
  if (!isText(id)) throw new InvalidContextError('the user has a NUL or a lone surrogate; no text in PostgreSQL has');
}

// An error that did not come from the server, or whose connection the server has refused or ended.
const isOutage = (error) => error.severity === undefined || /^(08|28|3D|57P)/.test(error.code);
// pg's, whose time is up; the server's end a connection that was idle
const isTimeout = (error) => error.severity === undefined && /timeout/i.test(error.message);
// The connection is gone, but its backend goes on, waiting for a lock.
const isStuck = (error) => error.message === 'Query read timeout';
// pg-pool's message; server-wide, 53300.  The database is up, so others may get their answers.
const isExhausted = (error) => error.message === 'timeout exceeded when trying to connect' || error.code === '53300';

function hintOf({ code, message }) {
  if (code === '42501' && message.includes('feature_flag_change')) {
    return 'pollIntervalMillis needs GRANT SELECT ON feature_flag_change for this role.';
  }
  return hints[code];
}

const generalError = (error) =>
  new GeneralError([error.message, hintOf(error)].filter(Boolean).join('. '), { cause: error });

/**
 * What OpenFeature calls the answer in a row of fflag_evaluate().  A boolean is what
 * fflag_enabled() says.  Any other type is the payload of the user's variant; a string
 * without payload is the variant's name.  Who gets no variant gets the default.
 */
function resolve(row, type, defaultValue) {
  const { name, enabled, variant, payload, variants, rule, bucket, because } = row;
  let { reason } = row;
  if (rule === 'unknown_flag') throw new FlagNotFoundError(`flag "${name}" does not exist`);
  const flagMetadata = { rule };
  if (bucket !== null) flagMetadata.bucket = bucket;
  if (because) flagMetadata.because = because;

  if (type === 'boolean') {
    return { value: enabled, variant: variant ?? (enabled ? 'on' : 'off'), reason, flagMetadata };
  }
  if (variants === 0) throw new TypeMismatchError(`flag "${name}" has no variants: it is a boolean`);
  if (variant === null) {
    // who gets the flag, but is nobody, or in none of the variants
    if (enabled) reason = 'DEFAULT';
    return { value: defaultValue, reason, flagMetadata };
  }
  const value = type === 'string' ? payload ?? variant : payload;
  const payloadOf = `payload of variant "${variant}" of flag "${name}"`;
  if (value === null || typeof value !== type) throw new TypeMismatchError(`${payloadOf} is no ${type}`);
  if (type === 'number' && Math.abs(value) > Number.MAX_SAFE_INTEGER) {
    throw new TypeMismatchError(`${payloadOf} is beyond 2^53, where JavaScript is not exact: make it a string`);
  }
  // everybody gets the flag, but not this variant
  if (reason === 'STATIC' && variants > 1) reason = 'SPLIT';
  return { value, variant, reason, flagMetadata };
}

export class FflagProvider {
  metadata = { name: 'fflag' };
  runsOn = 'server';
  events = new OpenFeatureEventEmitter();
  #options;
  #subject;
  #ownPool;
  #pool;
  #context = new AsyncLocalStorage(); // { client, users } of using() and batch()
  #names = new Map(); // that batches have asked for: the number of the last one; that one is last
  #batches = 0;
  #error = null; // while the status is ERROR
  #retry; // the timer while the database cannot be reached
  #pollInterval;
  #poll; // the timer
  #polled; // what the last one saw

  constructor({ pool, subject = subjectOf, pollIntervalMillis, ...options } = {}) {
    if (pollIntervalMillis !== undefined && !(pollIntervalMillis >= 1 && pollIntervalMillis < 2 ** 31)) {
      throw new TypeError('pollIntervalMillis must be a number of milliseconds, such as 5000');
    }
    if (pool && typeof pool.query !== 'function') {
      throw new TypeError('pool must be a pg.Pool, or have a query() like that');
    }
    if (pool && Object.keys(options).length > 0) {
      throw new TypeError(`with a pool, there is no use for the option ${Object.keys(options)}`);
    }
    if (!pool) new pg.Client(options); // throws if these are wrong, which a pool does not
    this.#pool = pool;
    this.#ownPool = !pool;
    this.#subject = subject;
    this.#pollInterval = pollIntervalMillis;
    this.#options = options;
  }

  async initialize() {
    if (this.#ownPool) {
      this.#pool = new pg.Pool({
        fallback_application_name: 'openfeature',
        connectionTimeoutMillis: TIMEOUT_MILLIS,
        allowExitOnIdle: true, // a script ends
        ...this.#options,
      });
      this.#pool.on('error', () => {}); // of an idle connection; the next question gets another one
    }
    this.#polled = undefined;
    try {
      await this.#query(this.#pool, [], null, false); // is everything there, and granted?
      if (this.#pollInterval) await this.#pollOnce();
    } catch (error) {
      this.#error = error; // the SDK tells of it
      if (isOutage(error)) this.#retryLater();
      throw generalError(error);
    } finally {
      if (this.#pollInterval) this.#pollLater();
    }
  }

  async onClose() {
    clearTimeout(this.#retry);
    clearTimeout(this.#poll);
    this.#retry = this.#poll = undefined;
    const pool = this.#pool;
    if (this.#ownPool) {
      this.#pool = undefined;
      await pool?.end();
    }
  }

  /**
   * Until `callback` returns, or its promise is settled, one statement fetches all flags of a
   * user that earlier batches have asked for.  For a request, say.
   */
  batch(callback) {
    return this.#within({ ...this.#context.getStore(), users: new Map() }, callback);
  }

  /** Until then, flags are asked on `client`: in its transaction. */
  using(client, callback) {
    return this.#within({ client }, callback);
  }

  #within(store, callback) {
    // What the callback has left behind must not go on with old answers, or a client that has been released.
    const end = () => { store.client = store.users = undefined; };
    let isPending = false;
    try {
      const result = this.#context.run(store, callback);
      isPending = typeof result?.then === 'function';
      return isPending ? Promise.resolve(result).finally(end) : result;
    } finally {
      if (!isPending) end();
    }
  }

  // A host that is gone would otherwise be waited for until TCP gives up.
  async #rowsOf(target, statement, values) {
    const query_timeout = this.#options.query_timeout ?? TIMEOUT_MILLIS;
    return (await target.query({ ...statement, values, query_timeout })).rows;
  }

  async #query(target, names, userId, isStaff) {
    const rows = await this.#rowsOf(target, evaluate, [names, userId, isStaff]);
    return new Map(rows.map(({ flag }) => JSON.parse(flag)).map((row) => [row.name, row]));
  }

  // The server may have closed the connection, perhaps all of them: lets the pool hear of it.
  async #queryWithRetries(names, userId, isStaff) {
    for (const millis of RETRY_MILLIS) {
      try {
        return await this.#query(this.#pool, names, userId, isStaff);
      } catch (error) {
        if (!isOutage(error) || isTimeout(error)) throw error;
        await sleep(millis);
      }
    }
    return this.#query(this.#pool, names, userId, isStaff);
  }

  /** Rows of fflag_evaluate() by name. */
  async #ask(names, userId, isStaff) {
    const { client } = this.#context.getStore() ?? {};
    try {
      if (client) return await this.#query(client, names, userId, isStaff);
      if (!this.#pool || this.#pool.ending) throw new ProviderNotReadyError('the pool is closed, or not yet open');
      if (this.#retry) throw this.#error;
      const rows = await this.#queryWithRetries(names, userId, isStaff);
      this.#succeeded();
      return rows;
    } catch (error) {
      if (error instanceof ProviderNotReadyError) throw error;
      if (!client && isOutage(error) && !isExhausted(error)) this.#failed(error, names);
      throw generalError(error);
    }
  }

  #failed(error, names) {
    if (this.#retry || !this.#pool) return;
    this.#retryLater(isStuck(error) ? names.slice(0, 1) : []);
    if (!this.#error) this.events.emit(ProviderEvents.Error, { message: error.message });
    this.#error = error;
  }

  #succeeded() {
    clearTimeout(this.#retry);
    this.#retry = undefined;
    if (!this.#error) return;
    this.#error = null;
    this.events.emit(ProviderEvents.Ready);
  }

  // Until the database answers, evaluations do not wait for it.  Each look at a flag that somebody
  // has locked leaves a backend behind; so there are ever fewer.
  #retryLater(names = [], millis = DOWN_MILLIS) {
    const timer = setTimeout(async () => {
      const error = await this.#query(this.#pool, names, null, false).then(() => null, (reason) => reason);
      if (this.#retry !== timer) return; // closed in the meantime
      if (!error) return this.#succeeded();
      this.#error = error;
      this.#retry = undefined;
      const next = isStuck(error) ? Math.min(2 * millis, MAX_DOWN_MILLIS) : DOWN_MILLIS;
      if (isOutage(error)) this.#retryLater(names, next);
    }, millis).unref();
    this.#retry = timer;
  }

  #pollLater() {
    const timer = setTimeout(async () => {
      await this.#pollOnce().catch(() => {}); // the next one finds what this one did not
      if (this.#poll === timer) this.#pollLater();
    }, this.#pollInterval).unref();
    this.#poll = timer;
  }

  async #pollOnce() {
    const last = this.#polled;
    const values = [last?.snapshot, last?.since ?? '-infinity'];
    const [{ snapshot, age, now, changed }] = await this.#rowsOf(this.#pool, pollChanges, values);
    const [xmin, xmax] = snapshot.split(':', 2).map(BigInt);
    // The next transaction id, from which an age is counted.  It is not xmax, which is behind the
    // last transaction that has ended: one prepared yesterday may be the next.
    const next = xmax + BigInt.asUintN(32, 3n + BigInt(age) - xmax);
    // Transactions that a snapshot does not show have begun after an earlier one, if all that ran then have ended.
    const hasEnded = !last || xmin >= last.next.xid;
    this.#polled = {
      snapshot,
      since: hasEnded ? last?.next.now : last.since,
      next: hasEnded ? { xid: next, now } : last.next,
    };
    if (changed === 'true') this.events.emit(ProviderEvents.ConfigurationChanged);
  }

  async #find(key, context) {
    if (!isText(key)) throw new FlagNotFoundError('no flag has a name with a NUL or a lone surrogate');
    const { userId, isStaff } = await this.#subject(context) ?? {};
    checkUser(userId);
    const staff = isStaff === true;

    const { users } = this.#context.getStore() ?? {};
    if (!users) return (await this.#ask([key], userId, staff)).get(key);

    const id = JSON.stringify([userId, staff]);
    let answers = users.get(id);
    if (!answers || answers.until < Date.now()) {
      // by name, the promise of rows that has it: many may be asked at once
      answers = { rows: new Map(), until: Date.now() + MAX_AGE_MILLIS };
      users.set(id, answers);
      if (users.size > MAX_USERS) users.delete(users.keys().next().value);
    }
    const { rows } = answers;
    if (!rows.has(key)) {
      const names = rows.size === 0 ? this.#namesWith(key) : [key];
      const fetched = this.#ask(names, userId, staff);
      for (const name of names) rows.set(name, fetched);
      // what failed may be asked again in this batch
      fetched.catch(() => { for (const name of names) rows.delete(name); });
    }
    const row = (await rows.get(key)).get(key);
    this.#names.delete(key);
    if (row.rule !== 'unknown_flag') this.#names.set(key, this.#batches);
    if (this.#names.size > MAX_NAMES) this.#names.delete(this.#names.keys().next().value);
    return row;
  }

  /** What to fetch with the first flag of a batch: a flag that nobody asks for any more is not counted as used. */
  #namesWith(key) {
    this.#batches++;
    for (const [name, batch] of this.#names) {
      if (this.#batches - batch <= FORGET_AFTER) break;
      this.#names.delete(name);
    }
    return [...new Set([key, ...this.#names.keys()])];
  }

  async resolveBooleanEvaluation(key, defaultValue, context) {
    return resolve(await this.#find(key, context), 'boolean', defaultValue);
  }

  async resolveStringEvaluation(key, defaultValue, context) {
    return resolve(await this.#find(key, context), 'string', defaultValue);
  }

  async resolveNumberEvaluation(key, defaultValue, context) {
    return resolve(await this.#find(key, context), 'number', defaultValue);
  }

  async resolveObjectEvaluation(key, defaultValue, context) {
    return resolve(await this.#find(key, context), 'object', defaultValue);
  }
}
