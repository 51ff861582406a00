import { readIfThere } from '../effects/files.ts';
import type { MailCounts } from '../pure/mail-queue.ts';

/** Counters of all sites, by domain; none where they cannot be read. */
export async function readMailStats(file: string): Promise<Map<string, MailCounts>> {
  try {
    return new Map(Object.entries(JSON.parse(await readIfThere(file) ?? '{}') as Record<string, MailCounts>));
  } catch {
    return new Map();
  }
}
