/** Tells the types of `ctx.exports` what the main module exports. */
declare namespace Cloudflare {
  interface GlobalProps {
    mainModule: typeof import('./worker.ts');
    durableNamespaces: 'SetObject';
  }
}
