declare const SITEGEN_VERSION: string;

/** The version of this build; "development" when run from the sources. */
export const version = typeof SITEGEN_VERSION === 'undefined' ? 'development' : SITEGEN_VERSION;
