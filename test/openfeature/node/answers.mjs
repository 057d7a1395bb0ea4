// Answers questions of the comparison with SQL, Django, Python and OFREP: reads lines {flag, user, staff},
// writes lines {enabled} in their order.
import { OpenFeature } from '@openfeature/server-sdk';
import { FflagProvider } from '@fflag/openfeature-provider';
import { createInterface } from 'node:readline';

await OpenFeature.setProviderAndWait(new FflagProvider());
const client = OpenFeature.getClient();
for await (const line of createInterface({ input: process.stdin })) {
  const { flag, user, staff } = JSON.parse(line);
  // null: nobody
  const enabled = await client.getBooleanValue(flag, false, { targetingKey: user ?? undefined, is_staff: staff });
  process.stdout.write(`${JSON.stringify({ enabled })}\n`);
}
await OpenFeature.close();
