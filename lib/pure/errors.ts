/**
 * An error whose message is written for the admin. The command line prints it as
 * `sitegen: error: …` and, below it, `sitegen: hint: …`; every other error counts as a bug
 * and is printed with its stack under `-v`.
 */
export class SitegenError extends Error {
  /** What to do next, as one sentence. */
  readonly hint: string | undefined;
  /** Process exit code: 1 for a failure, 2 for wrong usage. */
  readonly exitCode: number;

  /**
   * @param message what went wrong and where: names the domain, file or unit
   * @param options hint: the next action; cause: the underlying error; exitCode: 1 unless given
   */
  constructor(message: string, options: { hint?: string | undefined; cause?: unknown; exitCode?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'SitegenError';
    this.hint = options.hint;
    this.exitCode = options.exitCode ?? 1;
  }
}

/** A `SitegenError` for wrong arguments: exit code 2. */
export function usageError(message: string, hint?: string): SitegenError {
  return new SitegenError(message, { hint, exitCode: 2 });
}

/** The one-line text of anything that was thrown, for a `domain: reason` line. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.split('\n', 1)[0] ?? '';
}
