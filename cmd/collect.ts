import { reasonOf } from '../lib/pure/errors.ts';
import { collectStats } from '../lib/usecases/stats.ts';

/** Run by sitegen-stats.service every hour, and by the router's unit before its counters are gone. */
try {
  const { sites, router, journal } = await collectStats(Date.now());
  console.log(`wrote down the traffic of ${sites} sites${router ? '' : '; the router does not answer'}${journal ? '' : '; the journal could not be read'}`);
} catch (error) {
  console.error(`traffic was not written down: ${reasonOf(error)}`);
  process.exitCode = 1;
}
