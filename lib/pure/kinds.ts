/** Keys of a site's settings that say what answers; a site has one at most, and the default app without. */
export const kinds = ['app', 'image', 'compose', 'static', 'proxy', 'passthrough', 'redirect'] as const;

export type Kind = (typeof kinds)[number];
