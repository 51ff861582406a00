/**
 * Works on some items at a time, in their order: what is waited for is somebody else's work.
 * @param atOnce how many are begun before the first has ended
 * @throws whatever `work` throws; the others of that moment go on
 */
export async function inParallel<T>(items: readonly T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const queue = items.values();
  await Promise.all(Array.from({ length: atOnce }, async () => {
    for (const item of queue) await work(item);
  }));
}
