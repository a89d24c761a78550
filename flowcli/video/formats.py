"""The formats that are read: those whose files hold all that they show."""

from __future__ import annotations

SELF_CONTAINED = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,asf,asf_o,flv,live_flv,kux,mpegts,mpegtsraw,mpeg,"
    "mpegvideo,m4v,mxf,gxf,lxf,nut,ogg,ogv,rm,ivr,ivf,wtv,ty,dv,nuv,nsv,nc,dhav,ipmovie,lmlm4,"
    "mvi,vivo,xmv,hxvs,kvag,h261,h263,h264,hevc,vvc,evc,av1,obu,apv,avs2,avs3,cavsvideo,dirac,"
    "dnxhd,vc1,vc1test,mjpeg,mjpeg_2000,mpjpeg,smjpeg,ingenient,ipu,yuv4mpegpipe,gif,apng,webp_anim,"
    "jpegxl_anim,gdv,cine,r3d,mlv,fits,filmstrip,ser,simbiosis_imx,luodat,4xm,anm,bethsoftvid,bfi,"
    "bink,c93,cdg,cdxl,cdp,dfa,derf,dsicin,dxa,ea,film_cpk,flic,frm,hnm,idcin,iff,iss,iv8,jv,"
    "mm,moflex,msnwctcp,mtv,mv,mxg,paf,pmp,pp_bnk,psxstr,pva,rl2,roq,rpl,sga,siff,smk,smush,"
    "sol,sdr2,tiertexseq,tmv,thp,txd,usm,vmd,wc3movie,wsvqa,wve,xa,yop,bmp_pipe,cri_pipe,dds_pipe,"
    "dpx_pipe,exr_pipe,gem_pipe,gif_pipe,hdr_pipe,ico,j2k_pipe,jpeg_pipe,jpegls_pipe,jpegxl_pipe,"
    "jpegxs_pipe,pam_pipe,pbm_pipe,pcx_pipe,pfm_pipe,pgm_pipe,pgmyuv_pipe,pgx_pipe,phm_pipe,"
    "photocd_pipe,pictor_pipe,png_pipe,ppm_pipe,psd_pipe,qdraw_pipe,qoi_pipe,sgi_pipe,sunrast_pipe,"
    "tiff_pipe,vbn_pipe,webp_pipe,xbm_pipe,xpm_pipe,xwd_pipe,aac,ac3,eac3,aiff,amr,ape,au,caf,dts,"
    "flac,g722,mp2,mp3,mpc,mpc8,oma,opus,qcp,tak,truehd,tta,voc,w64,wav,wv"
)
"""ffmpeg's names of them; those of sound are there to be told from what is no video at all.

Left out are all that name other files or addresses (hls, dash, concat, imf, sdp, vobsub, avisynth, svg_pipe, image2
with its patterns), programs of music and text, which ffmpeg would draw (tty, ass), and numbers without a header.
"""
