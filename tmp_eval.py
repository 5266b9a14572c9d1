import sys,time
import numpy as np, cv2
from dataclasses import replace
from training.scenes import imagine, render
from training.scenes.compose import Camera
R=sys.modules['training.scenes.render']
from training.scenes.solids import turned
from app.rendering import splats as S
def aside(scene, angle, pivot):
    """monkeypatched camera"""
    base=R.turned(0,-scene.camera.pitch,scene.camera.roll)
    return base
def render_from(scene,w,h,eye,frame):
    """frame rows right, up, forward (world)"""
    o1,o2=R._eye,R._frame
    R._eye=lambda c: eye.astype(np.float32); R._frame=lambda c: frame.astype(np.float32)
    ow=R._window
    R._window=lambda s,c,columns,rows:(slice(0,rows),slice(0,columns))
    try: return render(scene,w,h)
    finally: R._eye,R._frame,R._window=o1,o2,ow
def draw(sp,w,h,f,Rm,t):
    """reference renderer: Rm world(opencv cam0)->camera, t"""
    P=(sp.centres@Rm.T+t).astype(np.float64)
    z=P[:,2]; ok=z>1e-3
    q=sp.rotations; qw,x,y,zq=q.T
    M=np.empty((len(q),3,3)); 
    M[:,0,0]=1-2*(y*y+zq*zq);M[:,0,1]=2*(x*y-qw*zq);M[:,0,2]=2*(x*zq+qw*y)
    M[:,1,0]=2*(x*y+qw*zq);M[:,1,1]=1-2*(x*x+zq*zq);M[:,1,2]=2*(y*zq-qw*x)
    M[:,2,0]=2*(x*zq-qw*y);M[:,2,1]=2*(y*zq+qw*x);M[:,2,2]=1-2*(x*x+y*y)
    A=np.einsum('ij,njk->nik',Rm,M)*sp.deviations[:,None,:]
    J=np.zeros((len(q),2,3)); J[:,0,0]=f/z; J[:,0,2]=-f*P[:,0]/z**2; J[:,1,1]=f/z; J[:,1,2]=-f*P[:,1]/z**2
    B=J@A; C=B@B.transpose(0,2,1); C[:,0,0]+=.3; C[:,1,1]+=.3
    det=C[:,0,0]*C[:,1,1]-C[:,0,1]**2
    u=f*P[:,0]/z+w/2-.5; v=f*P[:,1]/z+h/2-.5
    rad=np.ceil(3*np.sqrt(np.maximum(C[:,0,0],C[:,1,1]))).astype(int)
    rad=np.minimum(rad,30)
    out_i=[];out_z=[];out_a=[];out_n=[]
    for r in np.unique(rad[ok]):
        s=np.flatnonzero(ok&(rad==r)); 
        if not len(s): continue
        g=np.arange(-r,r+1); dx,dy=np.meshgrid(g,g); dx=dx.ravel();dy=dy.ravel()
        for part in np.array_split(s,max(1,len(s)*len(dx)//20_000_000)):
            px=np.rint(u[part])[:,None]+dx; py=np.rint(v[part])[:,None]+dy
            ex=px-u[part][:,None]; ey=py-v[part][:,None]
            a_,b_,c_=C[part,0,0][:,None],C[part,0,1][:,None],C[part,1,1][:,None]
            e=(c_*ex*ex-2*b_*ex*ey+a_*ey*ey)/det[part][:,None]
            al=np.minimum(.99,sp.opacity*np.exp(-e/2))
            k=(al>1/255)&(px>=0)&(px<w)&(py>=0)&(py<h)
            out_i.append((py*w+px)[k].astype(np.int64)); out_a.append(al[k]); 
            n=np.broadcast_to(part[:,None],al.shape)[k]; out_n.append(n); out_z.append(z[n])
    i=np.concatenate(out_i);zz=np.concatenate(out_z);al=np.concatenate(out_a);n=np.concatenate(out_n)
    o=np.lexsort((zz,i)); i,al,n=i[o],al[o],n[o]
    lg=np.log1p(-al); cs=np.cumsum(lg)-lg
    first=np.r_[True,i[1:]!=i[:-1]]; base=cs[first][np.cumsum(first)-1]
    T=np.exp(cs-base); wgt=T*al
    img=np.zeros((h*w,3)); acc=np.zeros(h*w)
    for c in range(3): img[:,c]=np.bincount(i,wgt*sp.colours[n,c],h*w)
    acc=np.bincount(i,wgt,h*w)
    return img.reshape(h,w,3),acc.reshape(h,w)
def psnr(a,b,m=None):
    e=(a-b)**2
    e=e[m] if m is not None else e
    return 10*np.log10(1/e.mean())
if __name__=='__main__':
    W,H=480,360
    tot=[]
    for seed in range(int(sys.argv[1]),int(sys.argv[2])):
        sc=imagine(seed); r=render(sc,W,H); f=sc.camera.focal*max(W,H)
        d=np.maximum(r.disparity,1/200).astype(np.float32)
        t=time.time(); sp=S.lift(r.pixels,d,f,2); dt=time.time()-t
        img,acc=draw(sp,W,H,f,np.eye(3),np.zeros(3)); ph=r.pixels/255
        row=[seed,len(sp),round(dt,2),round(psnr(img,ph),2)]
        fr=R.turned(0,-sc.camera.pitch,sc.camera.roll); eye=np.array([0,sc.camera.height,0])
        piv=1/np.median(d)
        for ang in (5,15):
            a=np.radians(ang)
            # camera 1: orbit about pivot (0,0,piv) in camera-0 opencv coords, to the right
            Rm=np.array([[np.cos(a),0,np.sin(a)],[0,1,0],[-np.sin(a),0,np.cos(a)]])  # cam0->cam1
            c=np.array([piv*np.sin(a),0,piv*(1-np.cos(a))])  # camera centre
            # choose so that it looks at the pivot
            fwd=np.array([0,0,piv])-c; fwd/=np.linalg.norm(fwd); right=np.cross([0,1,0],fwd); right/=np.linalg.norm(right); down=np.cross(fwd,right)
            Rm=np.stack([right,down,fwd]); tt=-Rm@c
            img,acc=draw(sp,W,H,f,Rm,tt)
            # world of true renderer: rows right, up, forward
            F0=np.stack([fr[0],-fr[1],fr[2]])  # opencv axes in world
            F1=Rm@F0; frame=np.stack([F1[0],-F1[1],F1[2]]); e1=eye+F0.T@c
            tr=render_from(sc,W,H,e1,frame)
            # pixels whose true point lies inside the first photo's frame
            z=1/np.maximum(tr.disparity,1/200); ys,xs=np.mgrid[0:H,0:W]
            p=np.stack([(xs+.5-W/2)/f*z,(ys+.5-H/2)/f*z,z],-1).reshape(-1,3)
            p0=(p-tt)@Rm; uu=f*p0[:,0]/p0[:,2]+W/2; vv=f*p0[:,1]/p0[:,2]+H/2
            m=((uu>1)&(uu<W-1)&(vv>1)&(vv<H-1)&(p0[:,2]>0)).reshape(H,W)
            row+= [ang,'holes %.2f%%'%(100*(acc[m]<.5).mean()),'psnr %.2f'%psnr(img,tr.pixels/255,m),'in frame %.0f%%'%(100*m.mean())]
            if seed==int(sys.argv[1]): cv2.imwrite(f'/tmp/sp_{seed}_{ang}.png',np.hstack([img[...,::-1]*255,tr.pixels[...,::-1]]).clip(0,255).astype(np.uint8))
        print(*row,flush=True)
