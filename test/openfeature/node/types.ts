// What an application may write, and what it may not; compiled with --strict, never run.
import { OpenFeature, type Provider } from '@openfeature/server-sdk';
import { FflagProvider, subjectOf, type FflagProviderOptions, type Subject } from '@fflag/openfeature-provider';
import pg from 'pg';

const pool = new pg.Pool();
const provider: Provider = new FflagProvider();
const flags = new FflagProvider({ connectionString: 'postgres:///shop', max: 3, query_timeout: 500, pollIntervalMillis: 5000 });
OpenFeature.setProvider(provider);
OpenFeature.setProvider(flags);

const options: FflagProviderOptions[] = [
  { pool },
  { pool, subject: (context) => ({ userId: subjectOf(context).userId, isStaff: context.role === 'staff' }) },
  { pool, subject: async (): Promise<Subject> => ({ userId: '42', isStaff: false }) },
];
options.forEach((each) => new FflagProvider(each));

const page: Promise<[boolean, string]> = flags.batch(async () => {
  const client = OpenFeature.getClient();
  return [await client.getBooleanValue('a', false), await client.getStringValue('b', 'x')] as [boolean, string];
});
const three: number = flags.batch(() => 3);

async function inTransaction(): Promise<boolean> {
  const client = await pool.connect();
  const single = new pg.Client();
  await flags.using(single, async () => 1);
  return flags.using(client, () => OpenFeature.getClient().getBooleanValue('a', false));
}

// @ts-expect-error: what is no pool
new FflagProvider({ pool: 'postgres:///shop' });
// @ts-expect-error: a misspelt option
new FflagProvider({ conectionString: 'postgres:///shop' });
// @ts-expect-error: a user that is no text
new FflagProvider({ subject: () => ({ userId: 42, isStaff: false }) });
// @ts-expect-error: no answer for is_staff
new FflagProvider({ subject: () => ({ userId: '42' }) });
// @ts-expect-error: batch returns what its callback does
const wrong: string = flags.batch(() => 3);

export { inTransaction, page, three, wrong };
